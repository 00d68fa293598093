/** Whether somebody is connected, as the kernel of this machine says. */
import { fstatSync, rmSync } from "node:fs";
import { afterEach, expect, it, vi } from "vitest";
import { Connections, type Listener } from "../../../src/broker/demand/connections.ts";
import { openListener } from "../../../src/broker/drain/refusal/listener.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { type Native, native } from "../../../src/native.ts";
import { type Address, decodeSockaddr, encodeSockaddr, familyNumber } from "../../../src/net/address.ts";
import { SOCK_STREAM } from "../../../src/net/transport.ts";
import { leaksNothing } from "../../support/fds.ts";
import { boundSocket } from "../../support/sockets.ts";

const path = `/tmp/berthd connections ${process.pid}.sock`;

leaksNothing();
afterEach(() => {
  rmSync(path, { force: true });
});

function listenerOf({ fd }: FdHandle): Listener {
  const bytes = new Uint8Array(128);
  const address = decodeSockaddr(bytes.subarray(0, native.getsockname(fd, bytes)));
  if (address === undefined) throw new Error("not bound");
  return { address, inode: fstatSync(fd, { bigint: true }).ino };
}

async function look(connections: Connections, listener: Listener): Promise<boolean> {
  await new Promise<void>((resolve) => connections.refresh(resolve));
  return connections.to(listener);
}

const isInUse = async (listener: Listener): Promise<boolean> => await look(new Connections(native), listener);

/** A player of a server there. */
function connectTo(address: Address): FdHandle {
  const player = FdHandle.adopt(check("socket", native.socket(familyNumber(address), SOCK_STREAM, 0)));
  native.connect(player.fd, encodeSockaddr(address)); // 0, or EINPROGRESS: on the way to ourselves
  return player;
}

it.each([
  ["tcp://127.0.0.1:0", undefined],
  ["tcp://0.0.0.0:0", { family: "ipv4", host: "127.0.0.1" }],
  ["tcp://[::1]:0", undefined],
  ["tcp://[::]:0", { family: "ipv6", host: "::1" }],
  ["tcp://*:0", { family: "ipv4", host: "127.0.0.1" }],
  [`unix://${path}`, undefined],
  [`unix://@${path}`, undefined],
] as const)("%s", async (written, by) => {
  using server = boundSocket(written, 8);
  const listener = listenerOf(server);
  const { address } = listener;
  expect(await isInUse(listener)).toBe(false);
  const port = "port" in address ? address.port : 0;
  using player = connectTo(by === undefined ? address : { ...by, port });
  // Whether it waits to be accepted, or has been.
  expect(await isInUse(listener)).toBe(true);
  using accepted = FdHandle.adopt(check("accept", native.accept(server.fd)));
  expect(await isInUse(listener)).toBe(true);
  accepted.close();
  player.close();
  expect(await isInUse(listener)).toBe(false);
});

it("a connection to another socket of the same path is none, nor is a name that looks like a line of /proc/net/unix", async () => {
  using server = boundSocket(`unix://${path}`, 8);
  const listener = listenerOf(server);
  const line = `0000000000000000: 00000003 00000000 00000000 0001 03 12345 ${path}`;
  const name = { family: "unix", path: `x\n${line.slice(0, 100)}`, abstract: true } as const;
  using forger = FdHandle.adopt(check("socket", native.socket(familyNumber(name), SOCK_STREAM, 0)));
  check("bind", native.bind(forger.fd, encodeSockaddr(name)));
  rmSync(path);
  using other = boundSocket(`unix://${path}`, 8);
  const { address } = listener;
  using _player = connectTo(address);
  expect(await isInUse(listener)).toBe(false);
  expect(await isInUse(listenerOf(other))).toBe(true);
});

it("is not asked of the kernel again within a second, and once for all who ask meanwhile", async () => {
  using server = boundSocket("tcp://127.0.0.1:0", 8);
  const listener = listenerOf(server);
  let asked = 0;
  const socket: Native["socket"] = (...args) => {
    asked++;
    return native.socket(...args);
  };
  const connections = new Connections({ ...native, socket });
  const now = performance.now();
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  expect(await Promise.all([look(connections, listener), look(connections, listener)])).toEqual([false, false]);
  expect(await look(connections, listener)).toBe(false);
  expect(asked).toBe(2); // about TCP, and about UNIX sockets
  using _ = connectTo(listener.address);
  expect(await look(connections, listener)).toBe(false);
  clock.mockImplementation(() => now + 2000);
  expect(await look(connections, listener)).toBe(true);
  clock.mockRestore();
});

it("what the kernel does not tell, or not to the end, counts as in use", async () => {
  using server = boundSocket("tcp://127.0.0.1:0", 8);
  const listener = listenerOf(server);
  const without: Native = { ...native, socket: () => -93 };
  expect(await look(new Connections(without), listener)).toBe(true);
  const silent: Native = { ...native, sendmsg: () => -22 };
  expect(await look(new Connections(silent), listener)).toBe(true);
  const cut: Native = { ...native, recvbytes: (...args) => Math.min(native.recvbytes(...args), 8) };
  expect(await look(new Connections(cut), listener)).toBe(true);
});

it("others are served while the kernel tells of 3,000 connections", async () => {
  using server = boundSocket(`unix://@${path}`, 4096);
  const listener = listenerOf(server);
  const ends = Array.from({ length: 3000 }, () => [
    connectTo(listener.address),
    FdHandle.adopt(check("accept", native.accept(server.fd))),
  ]).flat();
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  const isUsed = await isInUse(listener);
  isDone = true;
  for (const end of ends) end.close();
  expect(isUsed).toBe(true);
  expect(turns).toBeGreaterThan(5);
});

it("does not count those who are turned away", async () => {
  const socket = openListener("ipv4", native);
  if (typeof socket === "string") throw new Error(socket);
  using server = socket;
  const listener = listenerOf(server);
  using _ = connectTo(listener.address);
  expect(await isInUse(listener)).toBe(false);
  using accepted = FdHandle.adopt(check("accept", native.accept(server.fd)));
  expect(await isInUse(listener)).toBe(false);
  accepted.close();
});
