/** A tenant that starts its server without `exec` is ended with all that it has started. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { createInterface } from "node:readline";
import { expect, it, vi } from "vitest";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { processOf } from "../../../src/broker/berths/server-processes.ts";
import { Ending } from "../../../src/broker/demand/ending.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";

leaksNothing("soon");

const { SIGTERM } = constants.signals;

/** A start.sh with a server as its child, in a session of its own, and the server's pid. */
async function startScript(server: string): Promise<{ child: ChildProcess; pid: number; exited: Promise<unknown> }> {
  // The child says that it is there once it handles signals as it means to.
  const child = spawn("sh", ["-c", `sh -c '${server}' & wait`], {
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const exited = once(child, "exit");
  const [line] = await once(createInterface(child.stdout), "line");
  return { child, pid: Number(line), exited };
}

function leaseOf({ pid = -1 }: ChildProcess): Lease {
  const pidfd = FdHandle.adopt(native.pidfdOpen(pid));
  return new Lease({ pid, uid: 0, unit: undefined }, TenantProcess.watch(pidfd, native), () => undefined);
}

function end(lease: Lease, timeout: number, onKill: () => void, pids: readonly number[] = []): Ending {
  const { pidfd } = lease;
  if (pidfd === undefined) throw new Error("it has ended already");
  const processes = async () => pids.flatMap((pid) => processOf(pid) ?? []);
  return new Ending(lease, pidfd, { sys: native, signal: SIGTERM, timeout, processes, onKill });
}

const isGone = (pid: number): boolean => !existsSync(`/proc/${pid}`);

it("asks the child of a start.sh without exec to end, too", async () => {
  const { child, pid, exited } = await startScript("echo $$; exec sleep 1000");
  const lease = leaseOf(child);
  const onKill = vi.fn();
  const ending = end(lease, 600_000, onKill);
  await exited;
  await expect.poll(() => isGone(pid)).toBe(true);
  ending.close();
  lease.end();
  expect(onKill).not.toHaveBeenCalled();
});

it("kills the child that ignores it, after the tenant itself has ended", async () => {
  const { child, pid, exited } = await startScript('trap "" TERM; echo $$; while :; do sleep 0.1; done');
  const lease = leaseOf(child);
  const onKill = vi.fn();
  end(lease, 300, onKill);
  await exited;
  lease.end();
  expect(isGone(pid)).toBe(false);
  await expect.poll(() => isGone(pid)).toBe(true);
  expect(onKill).toHaveBeenCalledOnce();
});

it("asks a process of the server that has left the group to end, too", needs("setsid"), async () => {
  const { child, pid, exited } = await startScript('exec setsid -w sh -c "echo \\$\\$; exec sleep 1000"');
  const lease = leaseOf(child);
  const onKill = vi.fn();
  expect(processOf(pid)?.group).toBe(pid);
  const ending = end(lease, 600_000, onKill, [pid]);
  await exited;
  await expect.poll(() => isGone(pid)).toBe(true);
  ending.close();
  lease.end();
  expect(onKill).not.toHaveBeenCalled();
});

it(
  "kills one that has left the group and ignores it, and another that began meanwhile is left alone",
  needs("setsid"),
  async () => {
    const { child, pid, exited } = await startScript(
      `exec setsid -w sh -c "trap \\"\\" TERM; echo \\$\\$; while :; do sleep 0.1; done"`,
    );
    const lease = leaseOf(child);
    const onKill = vi.fn();
    const pids = [pid];
    end(lease, 300, onKill, pids);
    await exited;
    lease.end();
    const next = await startScript("echo $$; exec sleep 1000");
    pids.push(next.pid);
    await expect.poll(() => isGone(pid)).toBe(true);
    expect(onKill).toHaveBeenCalledOnce();
    expect(isGone(next.pid)).toBe(false);
    process.kill(next.pid, "SIGKILL");
    await next.exited;
  },
);
