import { afterEach, describe, expect, it } from "vitest";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { encodeSockaddr } from "../../../src/net/address.ts";
import { boundAddress, socketPair } from "../../../src/net/socket-queries.ts";
import { openFds } from "../../support/fds.ts";
import { childrenOf } from "../../support/guards.ts";

const POLLHUP = 0x10;
const opened: { close(): void }[] = [];

afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

function guard(log: string[] = []): Guard {
  const made = new Guard({ sys: native, log: (_, message) => log.push(message) });
  opened.push({ close: () => made[Symbol.dispose]() });
  return made;
}

function keepers(): number[] {
  return childrenOf(process.pid, "berth-guard").flatMap((zygote) => childrenOf(zygote, "berth-guard-k"));
}

/** Two ends: the first one tells when the last descriptor of the second is closed. */
function pair(): [FdHandle, FdHandle] {
  const [one, other] = socketPair("stream", native);
  opened.push(one, other);
  return [one, other];
}

const isClosed = (end: FdHandle): boolean => (native.pollNow(end.fd, 1) & POLLHUP) !== 0;

describe("what the keeper keeps", () => {
  it("stays open when this process has closed its own, until it is dropped", async () => {
    const { keeper } = guard();
    const [end, socket] = pair();
    const kept = keeper.keep("berth a", () => (socket.open ? socket.fd : undefined));
    expect(kept.isThere).toBe(false);
    keeper.flush();
    expect(kept.isThere).toBe(true);
    socket.close();
    await expect.poll(keepers).toHaveLength(1);
    expect(isClosed(end)).toBe(false);
    kept.drop();
    kept.drop();
    await expect.poll(() => isClosed(end)).toBe(true);
    await expect.poll(() => keeper.leaving).toBe(0);
  });

  it("has a free address once it is dropped at once", () => {
    const { keeper } = guard();
    let address = encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port: 0 });
    for (let round = 0; round < 50; round++) {
      using socket = FdHandle.adopt(native.socket(2, 2, 0));
      expect([round, native.bind(socket.fd, address)]).toEqual([round, 0]);
      const bound = boundAddress(socket.fd, native);
      if (bound !== undefined) address = encodeSockaddr(bound);
      const kept = keeper.keep("berth a", () => socket.fd);
      keeper.flush();
      socket.close();
      kept.dropNow();
    }
  });

  it("is closed when this process closes the keeper, and then it has ended", () => {
    const before = openFds();
    const { keeper } = guard();
    const pairs = Array.from({ length: 600 }, pair);
    for (const [, socket] of pairs) keeper.keep("berth a", () => socket.fd);
    keeper.flush();
    for (const [, socket] of pairs) socket.close();
    // It is known which process it is once a reply has come.
    const [end, socket] = pair();
    const kept = keeper.keep("berth b", () => socket.fd);
    keeper.flush();
    socket.close();
    kept.dropNow();
    expect(isClosed(end)).toBe(true);
    keeper.close({ waits: true });
    for (const [one] of pairs) expect(isClosed(one)).toBe(true);
    for (const one of opened.splice(0)) one.close();
    expect(openFds()).toEqual(before);
  });

  it("is given to another keeper when the first is killed, and the log says so once", async () => {
    const log: string[] = [];
    const { keeper } = guard(log);
    const [end, socket] = pair();
    const kept = keeper.keep("berth a", () => (socket.open ? socket.fd : undefined));
    for (let round = 0; round < 2; round++) {
      keeper.flush();
      await expect.poll(keepers).toHaveLength(1);
      const [pid = 0] = keepers();
      process.kill(pid, "SIGKILL");
      await expect.poll(keepers).not.toContain(pid);
      await expect.poll(() => kept.isThere).toBe(true);
      await expect.poll(keepers).toHaveLength(1);
    }
    socket.close();
    expect(isClosed(end)).toBe(false);
    kept.dropNow();
    expect(isClosed(end)).toBe(true);
    expect(log).toEqual([expect.stringContaining("the keeper of the held sockets was killed")]);
  });

  it("survives signals that everything in a unit gets", async () => {
    const { keeper } = guard();
    const [end, socket] = pair();
    const kept = keeper.keep("berth a", () => (socket.open ? socket.fd : undefined));
    keeper.flush();
    await expect.poll(keepers).toHaveLength(1);
    const [pid = 0] = keepers();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.kill(pid, signal);
    socket.close();
    kept.dropNow();
    expect(isClosed(end)).toBe(true);
    expect(keepers()).toEqual([pid]);
  });
});

it("a keeper that is not needed is not started", async () => {
  // That of the test before ends a moment after its guard.
  await expect.poll(keepers).toEqual([]);
  const { keeper } = guard();
  keeper.flush();
  keeper.settle();
  keeper.close({ waits: true });
  expect(keepers()).toEqual([]);
});
