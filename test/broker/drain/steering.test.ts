/** New connections that are steered to another socket: the kernel's own answers, and what is left after a failure. */
import { constants } from "node:os";
import { expect, it, vi } from "vitest";
import { openListener } from "../../../src/broker/drain/refusal/listener.ts";
import { Steering } from "../../../src/broker/drain/refusal/steering.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { type Native, native } from "../../../src/native.ts";
import { encodeSockaddr, type InetAddress } from "../../../src/net/address.ts";
import { POLLIN } from "../../../src/net/socket-constants.ts";
import { boundAddress } from "../../../src/net/socket-queries.ts";
import { SOCK_STREAM } from "../../../src/net/transport.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { boundSocket } from "../../support/sockets.ts";

const { EACCES, EAGAIN, EMFILE, ENOENT, EPERM } = constants.errno;
leaksNothing();

function addressOf({ fd }: FdHandle): InetAddress {
  const address = boundAddress(fd, native);
  if (address === undefined || address.family === "unix") throw new Error("not bound");
  return address;
}

function listener(family: InetAddress["family"]): FdHandle {
  const socket = openListener(family, native);
  if (typeof socket === "string") throw new Error(socket);
  return socket;
}

/** Which of two listening sockets a new connection comes to. */
function comesTo(address: InetAddress, one: FdHandle, other: FdHandle): FdHandle | undefined {
  const family = address.family === "ipv4" ? 2 : 10;
  using client = FdHandle.adopt(check("socket", native.socket(family, SOCK_STREAM, 0)));
  native.connect(client.fd, encodeSockaddr(address)); // EINPROGRESS
  for (let tries = 0; tries < 3000; tries++) {
    for (const socket of [one, other]) {
      if ((check("poll", native.pollFor(socket.fd, POLLIN, 5)) & POLLIN) === 0) continue;
      native.close(check("accept", native.accept(socket.fd)));
      return socket;
    }
  }
  return undefined;
}

it.each([
  ["tcp://127.0.0.1:0", {}],
  ["tcp://0.0.0.0:0", { host: "127.0.0.77" }],
  ["tcp://[::1]:0", {}],
  ["tcp://[::]:0", { host: "::1" }],
] as const)("goes to the other socket while it is steered there: %s", needs("root"), (written, by) => {
  using server = boundSocket(written, 8);
  const address = addressOf(server);
  using other = listener(address.family);
  const where = { ...address, ...by };
  const steering = new Steering(native);
  expect(comesTo(where, server, other)).toBe(server);
  expect(steering.steer(address, other.fd)).toBeUndefined();
  expect(comesTo(where, server, other)).toBe(other);
  steering.leave(address);
  expect(comesTo(where, server, other)).toBe(server);
  steering.close();
});

it("leaves other ports and addresses alone, and takes a more exact address first", needs("root"), () => {
  using server = boundSocket("tcp://0.0.0.0:0", 8);
  using stranger = boundSocket("tcp://127.0.0.1:0", 8);
  const address = addressOf(server);
  using all = listener("ipv4");
  using one = listener("ipv4");
  const steering = new Steering(native);
  steering.steer(address, all.fd);
  steering.steer({ ...address, host: "127.0.0.9" }, one.fd);
  expect(comesTo(addressOf(stranger), stranger, all)).toBe(stranger);
  expect(comesTo({ ...address, host: "127.0.0.9" }, all, one)).toBe(one);
  expect(comesTo({ ...address, host: "127.0.0.8" }, one, all)).toBe(all);
  steering.leave({ ...address, host: "127.0.0.9" });
  expect(comesTo({ ...address, host: "127.0.0.9" }, one, all)).toBe(all);
  steering.close();
});

it("goes to the server where the other socket is closed, or is of another family", needs("root"), () => {
  using server = boundSocket("tcp://127.0.0.1:0", 8);
  const address = addressOf(server);
  const steering = new Steering(native);
  const gone = listener("ipv4");
  steering.steer(address, gone.fd);
  gone.close();
  using wrong = listener("ipv6");
  expect(comesTo(address, server, wrong)).toBe(server);
  expect(steering.steer(address, wrong.fd)).toBeUndefined();
  expect(comesTo(address, server, wrong)).toBe(server);
  steering.leave(address);
  steering.leave(address);
  steering.close();
});

const NO_RIGHT = /^the kernel does not let the broker steer connections \(bpf: EPERM\); /;

it.each([
  ["bpfMap", EPERM, NO_RIGHT],
  ["bpfLookup", EACCES, /^bpf: EACCES$/],
  ["openat2", EMFILE, /^openat2: EMFILE$/],
  ["bpfLinkLookup", EPERM, NO_RIGHT],
  ["bpfSet", ENOENT, /^bpf: ENOENT$/],
] as const)("a failure of %s leaves nothing behind, and says why", needs("root"), (call, errno, why) => {
  const sys: Native = { ...native, [call]: () => -errno };
  using other = listener("ipv4");
  const steering = new Steering(sys);
  expect(steering.steer({ family: "ipv4", host: "127.0.0.1", port: 1 }, other.fd)).toMatch(why);
});

it("a signal that comes while the program is loaded keeps nobody from being steered", needs("root"), () => {
  const bpfLookup = vi.fn(native.bpfLookup).mockReturnValueOnce(-EAGAIN);
  using other = listener("ipv4");
  const steering = new Steering({ ...native, bpfLookup });
  expect(steering.steer({ family: "ipv4", host: "127.0.0.1", port: 1 }, other.fd)).toBeUndefined();
  steering.close();
});

it.each(["bind", "listen"] as const)("a listening socket that %s refuses is closed", (call) => {
  expect(openListener("ipv4", { ...native, [call]: () => -EACCES })).toBe(`${call}: EACCES`);
});
