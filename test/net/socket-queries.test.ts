import { constants } from "node:os";
import { expect, test } from "vitest";
import { check, isScarcity, SysError } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { AF_INET, encodeSockaddr } from "../../src/net/address.ts";
import { SO_DOMAIN, SO_TYPE, SOL_SOCKET } from "../../src/net/socket-constants.ts";
import {
  boundAddress,
  boundAddressIfKnown,
  clearPendingError,
  isConnected,
  socketOption,
  socketPair,
} from "../../src/net/socket-queries.ts";
import { SOCK_DGRAM } from "../../src/net/transport.ts";

const { EBADF, ECONNREFUSED, EMFILE, ENOENT } = constants.errno;
const loopback = (port: number) => encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port });
const udp = () => FdHandle.adopt(check("socket", native.socket(AF_INET, SOCK_DGRAM, 0)));

test("a pair of sockets is connected, has the kind asked for, and no name", () => {
  const [one, other] = socketPair("seqpacket", native);
  using _one = one;
  using _other = other;
  expect([one, other].map(({ fd }) => socketOption(fd, SOL_SOCKET, SO_TYPE, native))).toEqual([5, 5]);
  expect([one, other].map(({ fd }) => isConnected(fd, native))).toEqual([true, true]);
  expect(boundAddress(one.fd, native)).toBeUndefined();
});

test("a pair that the kernel refuses throws the errno", () => {
  const sys = { ...native, socketpair: () => -EMFILE };
  expect(() => socketPair("stream", sys)).toThrow(new SysError("socketpair", EMFILE));
});

test("a bound socket says where, and a closed descriptor gives the errno", () => {
  using socket = udp();
  check("bind", native.bind(socket.fd, loopback(0)));
  const address = boundAddress(socket.fd, native);
  expect(address).toMatchObject({ family: "ipv4", host: "127.0.0.1", port: expect.any(Number) });
  expect(boundAddressIfKnown(socket.fd, native)).toEqual(address);
  expect(isConnected(socket.fd, native)).toBe(false);
  expect(socketOption(socket.fd, SOL_SOCKET, SO_DOMAIN, native)).toBe(AF_INET);
  const { fd } = socket;
  socket.close();
  expect(socketOption(fd, SOL_SOCKET, SO_DOMAIN, native)).toBe(-EBADF);
  expect(boundAddressIfKnown(fd, native)).toBeUndefined();
  expect(() => boundAddress(fd, native, "udp://a")).toThrow("getsockname udp://a: EBADF");
});

test("a pending error is cleared by reading it, so that the next send works", () => {
  using gone = udp();
  check("bind", native.bind(gone.fd, loopback(0)));
  const bound = boundAddress(gone.fd, native);
  const port = bound !== undefined && "port" in bound ? bound.port : 0;
  gone.close();
  using socket = udp();
  check("connect", native.connect(socket.fd, loopback(port)));
  const send = (): number => native.sendmsg(socket.fd, new Uint8Array(1), 0, new Int32Array(0), 0);
  expect(send()).toBe(1);
  expect(send()).toBe(-ECONNREFUSED); // the answer to the first came back at once, over loopback
  expect(send()).toBe(1);
  clearPendingError(socket.fd, native);
  expect(send()).toBe(1);
});

test("running out of descriptors is scarcity, a missing file is not", () => {
  expect(isScarcity(new SysError("open", EMFILE))).toBe(true);
  expect(isScarcity(new SysError("open", ENOENT, "/nowhere"))).toBe(false);
  expect(isScarcity(new Error("EMFILE"))).toBe(false);
});
