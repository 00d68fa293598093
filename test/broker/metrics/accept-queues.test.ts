import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { type AcceptQueue, AcceptQueues, readQueues } from "../../../src/broker/metrics/accept-queues.ts";
import { type Native, native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing("soon");

/** One answer of the kernel to a question about its listening sockets of UNIX. */
async function anAnswer(): Promise<Buffer> {
  const answers: Buffer[] = [];
  const recvbytes: Native["recvbytes"] = (socket, data, mode) => {
    const length = native.recvbytes(socket, data, mode);
    if (length > 0) answers.push(Buffer.from(data.subarray(0, length)));
    return length;
  };
  const server = createServer().listen("\0berthd-accept-queues");
  await once(server, "listening");
  const queues = await new AcceptQueues({ ...native, recvbytes }).read();
  server.close();
  expect(queues.size).toBeGreaterThan(0);
  const whole = answers.find((answer) => readQueues(answer, new Map()));
  if (whole === undefined) throw new Error("no answer had a socket");
  return whole;
}

describe("answers that are not whole", () => {
  it("cut off anywhere, or with any byte changed: it reads what there is and ends", async () => {
    const whole = await anAnswer();
    for (let length = 0; length < whole.length; length++) readQueues(whole.subarray(0, length), new Map());
    for (let at = 0; at < Math.min(whole.length, 512); at++) {
      for (const byte of [0, 1, 3, 255]) {
        const changed = Buffer.from(whole);
        changed[at] = byte;
        const found = new Map<number, AcceptQueue>();
        readQueues(changed, found);
        expect(found.size).toBeLessThan(10_000);
      }
    }
  });
});

it("a kernel that has no sock_diag(7) tells nothing, and nothing fails", async () => {
  const without = { ...native, socket: () => -93 };
  expect((await new AcceptQueues(without).read()).size).toBe(0);
  const silent = { ...native, sendmsg: () => -22 };
  expect((await new AcceptQueues(silent).read()).size).toBe(0);
});

it("the kernel is asked once a second at most, for all who ask", async () => {
  let asked = 0;
  const socket: Native["socket"] = (...args) => {
    asked++;
    return native.socket(...args);
  };
  const queues = new AcceptQueues({ ...native, socket });
  const [one, other] = await Promise.all([queues.read(), queues.read()]);
  expect(asked).toBe(1);
  expect(one).toBe(other);
});
