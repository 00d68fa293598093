/** What passed sockets tell by way of a guard, so that later no call on them takes their locks. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Traffic } from "../../../src/broker/demand/traffic.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { examineSockets } from "../../../src/broker/sockets/examine-sockets.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { type PassedSocket, passedSocket } from "../../../src/broker/sockets/passed-socket.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { encodeSockaddr } from "../../../src/net/address.ts";
import { SO_TIMESTAMP, SO_TIMESTAMPNS, SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { boundAddress, socketOption } from "../../../src/net/socket-queries.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing("soon");

const [AF_INET, SOCK_DGRAM] = [2, 2];
const opened: (() => void)[] = [];
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

/** As a .socket unit passes it: bound by somebody else. */
function passed(): PassedSocket {
  const handle = FdHandle.adopt(check("socket", native.socket(AF_INET, SOCK_DGRAM, 0)));
  opened.push(() => handle.close());
  native.bind(handle.fd, encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port: 0 }));
  return passedSocket("game.socket", handle, native);
}

async function examined(socket: PassedSocket): Promise<PassedSocket> {
  using guard = new Guard({ sys: native, log: () => undefined });
  const [told] = await examineSockets([socket], guard);
  return told ?? expect.unreachable();
}

/** A datagram comes and is read. When that was over, in milliseconds since 1970. */
function exchange(fd: number): number {
  const sender = FdHandle.adopt(check("socket", native.socket(AF_INET, SOCK_DGRAM, 0)));
  opened.push(() => sender.close());
  const address = boundAddress(fd, native) ?? expect.unreachable();
  native.connect(sender.fd, encodeSockaddr(address));
  // The kernel delivers on loopback before send(2) returns.
  native.sendmsg(sender.fd, Buffer.from("hello"), 0, new Int32Array(0), 0);
  expect(native.recvbytes(fd, Buffer.alloc(16), 2)).toBe(5);
  return performance.timeOrigin + performance.now();
}

/** When the last datagram came that was read, as the kernel says, in milliseconds since 1970. */
function lastReceived(fd: number): number {
  const stamp = new Int32Array(4);
  expect(native.lastReceived(fd, stamp)).toBe(0);
  const view = new BigInt64Array(stamp.buffer);
  return Number(view[0] ?? 0n) * 1000 + Number(view[1] ?? 0n) / 1e6;
}

const stamps = (fd: number): number[] =>
  [SO_TIMESTAMP, SO_TIMESTAMPNS].map((option) => socketOption(fd, SOL_SOCKET, option, native));

describe("a UDP socket of a unit", () => {
  it("notes when a datagram came before anybody asks, and keeps its options", async () => {
    const socket = passed();
    const { fd } = socket.handle;
    expect((await examined(socket)).isMute).toBeUndefined();
    expect(stamps(fd)).toEqual([0, 0]);
    const read = exchange(fd);
    // A socket that had not noted it would answer with the present time.
    await expect.poll(() => performance.timeOrigin + performance.now()).toBeGreaterThan(read + 20);
    expect(lastReceived(fd)).toBeLessThan(read + 10);
  });

  it.each([SO_TIMESTAMP, SO_TIMESTAMPNS])("keeps option %s, which a unit has set", async (option) => {
    const socket = passed();
    native.setsockopt(socket.handle.fd, SOL_SOCKET, option, 1);
    expect((await examined(socket)).isMute).toBeUndefined();
    expect(stamps(socket.handle.fd)).toEqual([Number(option === SO_TIMESTAMP), Number(option === SO_TIMESTAMPNS)]);
  });

  it("is never asked, and counts as in use, if it did not answer", () => {
    const listen = {
      kind: "datagram",
      address: { family: "ipv4", host: "127.0.0.1", port: 0 },
      dualStack: false,
    } as const;
    const options = { backlog: 1, v6only: true, mode: 0o660 };
    using mute = HeldSocket.adopt({ ...passed(), isMute: true }, listen, options, native);
    using own = HeldSocket.open(listen, options, native);
    const lastReceived = vi.fn(native.lastReceived);
    const traffic = new Traffic({
      sys: { ...native, lastReceived },
      connections: { refresh: (then) => then(), to: () => false },
    });
    const seen = (socket: HeldSocket): boolean => traffic.seen([{ name: "game", socket }]);
    expect([seen(mute), seen(mute), lastReceived.mock.calls.length]).toEqual([true, true, 0]);
    expect([seen(own), seen(own), lastReceived.mock.calls.length]).toEqual([true, false, 2]);
    mute.reopen();
    expect([seen(mute), seen(mute)]).toEqual([true, false]);
  });
});
