/** One doorman has servers that sleep and servers that drain: neither takes the answers of the other. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, it, vi } from "vitest";
import * as codecs from "../../packages/doorman/src/index.ts";
import { Doors } from "../../src/doorman/doors.ts";
import { MOST_IN_ALL } from "../../src/doorman/senders/query-limit.ts";
import { FdHandle } from "../../src/fd.ts";
import { type Native, native, READABLE } from "../../src/native.ts";
import { encodeSockaddr } from "../../src/net/address.ts";
import { JOIN_BYTES, JOIN_RECORD } from "../../src/net/join-program.ts";
import { boundAddress, socketCookie } from "../../src/net/socket-queries.ts";
import { getstatus } from "../support/doorman/doors.ts";
import { lastJoins } from "../support/doorman/last-joins.ts";
import { leaksNothing } from "../support/fds.ts";
import { FakePoll } from "../support/scripted-native.ts";
import { boundSocket } from "../support/sockets.ts";

leaksNothing();
afterEach(() => vi.restoreAllMocks());

const quake = lastJoins["Quake III"] ?? expect.unreachable();
const server = { name: "Frozen Lake", map: "lake", slots: 12 };

/** A join at the socket with this cookie, as the kernel's program copies it. Each is of another network. */
function record(number: number, cookie: bigint): Buffer {
  const bytes = Buffer.alloc(JOIN_RECORD.data + JOIN_BYTES);
  bytes.writeUInt32LE(quake.bytes.length, JOIN_RECORD.length);
  bytes.writeBigUInt64LE(cookie, JOIN_RECORD.cookie);
  const host = `10.${number >> 8}.${number & 255}.1`;
  Buffer.from(encodeSockaddr({ family: "ipv4", host, port: 1001 })).copy(bytes, JOIN_RECORD.sender);
  quake.bytes.copy(bytes, JOIN_RECORD.data, 0, JOIN_BYTES);
  return bytes;
}

it("a flood of joins at one that drains leaves one that sleeps its answers", async () => {
  // All within one second.
  vi.spyOn(performance, "now").mockReturnValue(10_000);
  const [draining, sleeping] = [boundSocket("udp://127.0.0.1:0"), boundSocket("udp://127.0.0.1:0")];
  const [drainingFd, cookie] = [draining.fd, socketCookie(draining.fd, native)];
  const address = boundAddress(sleeping.fd, native);
  let [joins, refused] = [2 * MOST_IN_ALL, 0];
  class Ring {
    readonly status = 0;
    read(bytes: Uint8Array): number {
      if (joins === 0) return -1;
      const join = record(joins--, cookie);
      bytes.set(join);
      return join.length;
    }
    close(): void {}
  }
  const sendto: Native["sendto"] = (fd, bytes, to) => {
    if (fd !== drainingFd) return native.sendto(fd, bytes, to);
    refused++;
    return bytes.length;
  };
  const sys: Native = { ...native, Poll: FakePoll, BpfRing: Ring, sendto };
  const challenges = new codecs.Challenges(Buffer.alloc(32));
  const doors = new Doors({ sys, codecs, challenges, say: () => expect.unreachable() });
  const ring = FdHandle.adopt(native.memfd("ring"));
  const client = createSocket("udp4");
  try {
    doors.open({ watch: 1, refuse: "quake3", text: "it restarts", server }, [ring, draining]);
    const flood = FakePoll.last;
    while (joins > 0) flood?.fire(READABLE);
    expect(refused).toBe(MOST_IN_ALL);
    doors.open(
      {
        ...{ watch: 2, asleep: "quake3", wake: "join", networks: [], refusal: "", discardAfter: 30_000 },
        ...{ kinds: ["datagram"], server },
      },
      [sleeping],
    );
    const asked = FakePoll.last;
    const port = address?.family === "ipv4" ? address.port : 0;
    await new Promise((sent) => client.send(getstatus, port, "127.0.0.1", sent));
    const answer = once(client, "message", { signal: AbortSignal.timeout(30_000) });
    expect(asked?.turn()).toBe(true);
    expect(String((await answer)[0])).toContain("Frozen Lake");
  } finally {
    client.close();
    doors.drop(1);
    doors.drop(2);
  }
});
