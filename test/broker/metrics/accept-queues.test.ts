import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { type AcceptQueue, AcceptQueues, readQueues } from "../../../src/broker/metrics/accept-queues.ts";
import { type Native, native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing("soon");

/** Bytes: struct nlmsghdr, struct unix_diag_msg, and the attribute with the queue. */
const SMALLEST_MESSAGE = 16 + 16 + 12;

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
  const whole = answers.find((answer) => readQueues(answer, new Map()) === "more");
  if (whole === undefined) throw new Error("no answer had a socket");
  return whole;
}

describe("answers that are not whole", () => {
  it("cut off anywhere, or with any byte changed: it reads what there is and ends", async () => {
    const whole = await anAnswer();
    const all = new Map<number, AcceptQueue>();
    readQueues(whole, all);
    let most = 0;
    for (let length = 0; length < whole.length; length++) {
      const found = new Map<number, AcceptQueue>();
      readQueues(whole.subarray(0, length), found);
      for (const [inode, queue] of found) expect(queue).toEqual(all.get(inode));
      expect(found.size).toBeGreaterThanOrEqual(most);
      most = found.size;
    }
    expect(all.size - most).toBeLessThanOrEqual(1); // the last message is cut off at the end
    for (let at = 0; at < Math.min(whole.length, 512); at++) {
      for (const byte of [0, 1, 3, 255]) {
        const changed = Buffer.from(whole);
        changed[at] = byte;
        const found = new Map<number, AcceptQueue>();
        readQueues(changed, found);
        expect(found.size).toBeLessThanOrEqual(whole.length / SMALLEST_MESSAGE);
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
