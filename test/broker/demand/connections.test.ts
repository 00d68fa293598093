/** Whether somebody is connected, as the kernel of this machine says. */
import { rmSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { Connections } from "../../../src/broker/demand/connections.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { type Address, decodeSockaddr, encodeSockaddr, familyNumber } from "../../../src/net/address.ts";
import { SOCK_STREAM } from "../../../src/net/transport.ts";
import { leaksNothing } from "../../support/fds.ts";
import { boundSocket } from "../../support/sockets.ts";

const path = `/tmp/berthd connections ${process.pid}.sock`;

leaksNothing();
afterEach(() => {
  rmSync(path, { force: true });
});

function addressOf(fd: number): Address {
  const bytes = new Uint8Array(128);
  const address = decodeSockaddr(bytes.subarray(0, native.getsockname(fd, bytes)));
  if (address === undefined) throw new Error("not bound");
  return address;
}

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
] as const)("%s", (written, by) => {
  using server = boundSocket(written, 8);
  const address = addressOf(server.fd);
  expect(new Connections().to(address)).toBe(false);
  const port = "port" in address ? address.port : 0;
  using player = connectTo(by === undefined ? address : { ...by, port });
  // Whether it waits to be accepted, or has been.
  expect(new Connections().to(address)).toBe(true);
  using accepted = FdHandle.adopt(check("accept", native.accept(server.fd)));
  expect(new Connections().to(address)).toBe(true);
  accepted.close();
  player.close();
  expect(new Connections().to(address)).toBe(false);
});

it("is not asked of the kernel again within a second", async () => {
  using server = boundSocket("tcp://127.0.0.1:0", 8);
  const address = addressOf(server.fd);
  const connections = new Connections();
  expect(connections.to(address)).toBe(false);
  using _ = connectTo(address);
  expect(connections.to(address)).toBe(false);
  await expect.poll(() => connections.to(address), { timeout: 10_000 }).toBe(true);
});
