import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Exits } from "../../../src/broker/berths/exits.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { openFds } from "../../support/fds.ts";

let before: readonly string[] = [];
let exits = new Exits(native);
const opened: FdHandle[] = [];

beforeEach(() => {
  before = openFds();
  exits = new Exits(native);
});
afterEach(() => {
  exits[Symbol.dispose]();
  exits[Symbol.dispose]();
  for (const handle of opened.splice(0)) handle.close();
  expect(openFds()).toEqual(before);
});

async function sleeper(): Promise<{ pidfd: number; end: () => Promise<void> }> {
  const child = spawn("sleep", ["1000"], { stdio: "ignore" });
  await once(child, "spawn");
  const pidfd = FdHandle.adopt(check("pidfd_open", native.pidfdOpen(child.pid ?? -1)));
  opened.push(pidfd);
  const ended = once(child, "exit");
  return {
    pidfd: pidfd.fd,
    end: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Lets the event loop look for events twice: the exit of a child and that of its pidfd may come in two turns. */
async function turns(): Promise<void> {
  for (let n = 0; n < 3; n++) await turn();
}

it("tells an exit once, and none of a process that is not watched any more", async () => {
  const [first, second, third] = [await sleeper(), await sleeper(), await sleeper()];
  const told: number[] = [];
  exits.watch(first.pidfd, () => told.push(1));
  const watched = exits.watch(second.pidfd, () => told.push(2));
  exits.watch(third.pidfd, () => told.push(3));
  watched.close();
  watched.close();
  for (const one of [second, first, third]) await one.end();
  await expect.poll(() => told.toSorted()).toEqual([1, 3]);
  await turns();
  expect(told).toHaveLength(2);
});

it("tells an exit that came during a pause when that is over", async () => {
  const one = await sleeper();
  const told: number[] = [];
  const watched = exits.watch(one.pidfd, () => told.push(1));
  watched.pause();
  watched.pause();
  await one.end();
  await turns();
  expect(told).toEqual([]);
  watched.resume();
  watched.resume();
  await expect.poll(() => told).toEqual([1]);
  watched.resume();
  await turns();
  expect(told).toEqual([1]);
});

it("tells of more than fit in one look, and not of one that an earlier hearer closed", async () => {
  const one = await sleeper();
  const told: number[] = [];
  const copies = Array.from({ length: 100 }, () => FdHandle.adopt(check("dup", native.dup(one.pidfd))));
  opened.push(...copies);
  const watched = copies.map(({ fd }, at) =>
    exits.watch(fd, () => {
      told.push(at);
      if (at % 2 === 0) watched[at + 1]?.close();
      if (at % 2 === 1) watched[at - 1]?.close();
    }),
  );
  await one.end();
  await expect.poll(() => told.length).toBe(50);
  await turns();
  expect(told).toHaveLength(50);
});

it("throws when there is no descriptor left, or the descriptor cannot be watched, and keeps nothing", () => {
  const full = new Exits({ ...native, epollCreate: () => -constants.errno.EMFILE });
  expect(() => full.watch(0, () => undefined)).toThrow("epoll_create1");
  expect(() => exits.watch(9999, () => undefined)).toThrow("epoll_ctl pidfd");
});
