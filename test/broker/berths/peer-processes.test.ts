/** The processes that have leases: watched once for all leases of a connection, and as long as one of them lasts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { PeerProcesses } from "../../../src/broker/berths/peer-processes.ts";
import { check, SysError } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing();

let child: ChildProcess;
let processes: PeerProcesses;
/** How many pidfds were opened. */
let opened: number;

beforeEach(async () => {
  child = spawn("sleep", ["1000"], { stdio: "ignore" });
  await once(child, "spawn");
  processes = new PeerProcesses(native);
  opened = 0;
});
afterEach(() => end());

async function end(): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** A connection of the child. */
function connection(): { pidfd(): FdHandle } {
  return {
    pidfd: () => {
      opened++;
      return FdHandle.adopt(check("pidfd_open", native.pidfdOpen(child.pid ?? 0)));
    },
  };
}

function shareOf(peer: { pidfd(): FdHandle | undefined }): TenantProcess {
  const share = processes.of({ peer });
  if (share === undefined) throw new Error("the process cannot be seen");
  return share;
}

/** Resolves when a share is told of the exit. */
function exitOf(share: TenantProcess): Promise<void> {
  return new Promise((resolve) => {
    share.onExit = resolve;
  });
}

it("leases of one connection share a pidfd, and each is told of the exit", async () => {
  const peer = connection();
  const [one, other] = [shareOf(peer), shareOf(peer)];
  expect([opened, one.pidfd]).toEqual([1, other.pidfd]);
  const exits = Promise.all([exitOf(one), exitOf(other)]);
  await end();
  await exits;
  expect([one.isWatched, one.lives, other.isWatched]).toEqual([false, false, false]);
  for (const share of [one, other]) share.close();
  processes.forget(peer);
});

it("a connection that is closed, and the end of another lease, leave a lease watched", async () => {
  const peer = connection();
  const [one, other] = [shareOf(peer), shareOf(peer)];
  other.onExit = () => expect.unreachable("its lease has ended");
  const exit = exitOf(one);
  processes.forget(peer);
  other.close();
  expect([one.lives, other.lives, other.isWatched, other.pidfd]).toEqual([true, false, false, undefined]);
  expect([other.signal(0), other.share()]).toEqual([undefined, undefined]);
  await end();
  await exit;
  one.close();
});

it("a lease that another one's end has ended is not told of the exit", async () => {
  const peer = connection();
  const [one, other, last] = [shareOf(peer), shareOf(peer), shareOf(peer)];
  one.onExit = () => other.close();
  other.onExit = () => expect.unreachable("its lease has ended");
  const exit = exitOf(last);
  await end();
  await exit;
  for (const share of [one, last]) share.close();
  processes.forget(peer);
});

it("the next lease of a connection after the last one has ended opens no pidfd", () => {
  const peer = connection();
  for (let n = 0; n < 5; n++) {
    const share = shareOf(peer);
    expect(share.lives).toBe(true);
    share.close();
    share.close();
  }
  expect(opened).toBe(1);
  processes.forget(peer);
});

it("a connection whose process has ended gets no live process, whether the end was told or not", async () => {
  const peer = connection();
  const first = shareOf(peer);
  const exit = exitOf(first);
  first.pause();
  await end();
  const second = shareOf(peer);
  expect([second.isWatched, second.lives, opened]).toEqual([true, false, 1]);
  first.resume();
  await exit;
  // The kernel has no pidfd of it any more.
  expect(() => processes.of({ peer })).toThrow("ESRCH");
  expect(processes.of({ peer: { pidfd: () => undefined } })).toBeUndefined();
  for (const share of [first, second]) share.close();
});

it("while it is paused, no exit is told", async () => {
  const peer = connection();
  const share = shareOf(peer);
  let told = false;
  const exit = exitOf(share).then(() => {
    told = true;
  });
  share.pause();
  await end();
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toBe(false);
  share.resume();
  await exit;
  share.close();
  processes.forget(peer);
});

it("eight processes are kept without a lease, and none where descriptors run out", () => {
  const peers = Array.from({ length: 9 }, connection);
  for (const peer of peers) shareOf(peer).close();
  expect(opened).toBe(9);
  // The first one has made room for the last.
  for (const peer of peers.slice(1)) shareOf(peer).close();
  expect(opened).toBe(9);
  // The second one took a berth later than the third, so now that one makes room.
  for (const index of [1, 0, 1]) shareOf(peers[index] ?? connection()).close();
  expect(opened).toBe(10);
  shareOf(peers[2] ?? connection()).close();
  expect(opened).toBe(11);
  let isFull = true;
  const scarce = {
    pidfd: () => {
      if (isFull) {
        isFull = false;
        throw new SysError("getsockopt SO_PEERPIDFD", constants.errno.EMFILE);
      }
      return connection().pidfd();
    },
  };
  shareOf(scarce).close();
  expect(opened).toBe(12);
  // Each has to be opened again.
  shareOf(peers[8] ?? scarce).close();
  expect(opened).toBe(13);
  for (const peer of [...peers, scarce]) processes.forget(peer);
});

it("a process that is not the peer's is opened for each lease", () => {
  const [peer, tenant] = [connection(), connection()];
  for (let n = 0; n < 2; n++) processes.of({ tenant, peer })?.close();
  expect(opened).toBe(2);
});
