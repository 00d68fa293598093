/** Servers whose binds are answered, while another broker takes over from theirs. Needs root. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { Dynasty } from "../support/dynasty.ts";
import { leaksNothing, openFds } from "../support/fds.ts";
import { guardsEnded } from "../support/guards.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { freePort } from "../support/ports.ts";
import { gaveUp, patiently, receiveAll, takeOver } from "../support/succession.ts";
import { berth, copyFixture, inodesAt, run, type Server } from "./harness.ts";

// A thousand binds take ten seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });
leaksNothing("soon");

interface World {
  readonly dynasty: Dynasty;
  readonly server: Server;
  /** The inode of the berth's socket, which the server has had once. */
  readonly held: string;
  /** The bind fallback that the first broker started. */
  readonly fallback: number;
  readonly rebind: (times: number) => void;
}

async function rebinding(test: (world: World) => Promise<void>): Promise<void> {
  await using dynasty = new Dynasty();
  const port = await freePort();
  dynasty.config({ "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) });
  const script = copyFixture(dynasty.folder, "rebind.py");
  const { pid } = await dynasty.start();
  await using server = run(dynasty, "game", ["python3", "-u", script, String(port)]);
  const rebind = (times: number): void => void server.child.stdin?.write("\n".repeat(times));
  rebind(1);
  const [held = ""] = await server.said(1);
  expect(inodesAt("udp", port)).toEqual([held]);
  // It calls itself that once it runs.
  await expect.poll(() => fallbacksOf(pid), patiently).toHaveLength(1);
  const [fallback = -1] = fallbacksOf(pid);
  await test({ dynasty, server, held, fallback, rebind });
  await server.kill();
  // It ends with the last process under a filter, whether a broker is left or not.
  await expect.poll(() => existsSync(`/proc/${fallback}/fd/0`), patiently).toBe(false);
}

/** Bind fallbacks that a process has started. */
function fallbacksOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        return /^Name:\tberth-keep$/m.test(status) && status.includes(`\nPPid:\t${parent}\n`);
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

const filtersOf = (pid: number): number => openFds(pid).filter((fd) => fd.includes("seccomp notify")).length;

describe("a bind", { ...needs("root"), timeout: 60_000 }, () => {
  it("gets the held socket each time, whichever broker it is that answers", () =>
    rebinding(async ({ dynasty, server, held, fallback, rebind }) => {
      // More than 200 a second: from then on each waits for 20 ms, received and unanswered.
      for (let round = 0; round < 4; round++) {
        rebind(400);
        await server.said(round * 400 + 150);
        const heir = await dynasty.replace();
        await expect
          .poll(() => [filtersOf(heir.pid), filtersOf(fallback), fallbacksOf(heir.pid)], patiently)
          .toEqual([1, 1, []]);
      }
      await server.said(1 + 4 * 400);
      expect([...new Set(server.lines)]).toEqual([held]);
    }));

  it("is answered by the bind fallback when the second broker is killed", () =>
    rebinding(async ({ dynasty, server, held, rebind }) => {
      const heir = await dynasty.replace();
      rebind(1);
      expect(await server.said(2)).toEqual([held, held]);
      heir.child.kill("SIGKILL");
      await heir.exited;
      rebind(1);
      expect((await server.said(3)).at(-1)).toBe("[Errno 99] Cannot assign requested address");
    }));

  it("is answered by the first broker when the other one exits without confirming", () =>
    rebinding(async ({ dynasty, server, held, fallback, rebind }) => {
      const { pid, socket, log } = dynasty.broker;
      await guardsEnded(pid);
      const before = openFds(pid);
      for (let round = 1; round <= 3; round++) {
        rebind(300);
        await server.said(1 + round * 300 - 150);
        using peer = await RawPeer.connect(socket);
        await peer.send(takeOver);
        expect(await receiveAll(peer)).toEqual(
          expect.arrayContaining([expect.stringMatching(/^binds\.game\//), "keeper.broker/channel"]),
        );
        peer.close();
        await expect.poll(() => log.filter(gaveUp), patiently).toHaveLength(round);
        await server.said(1 + round * 300);
      }
      expect([...new Set(server.lines)]).toEqual([held]);
      await expect.poll(() => filtersOf(fallback), patiently).toBe(1);
      // The same files, whatever their numbers.
      const files = (fds: readonly string[]): string[] => fds.map((fd) => fd.replace(/^\d+ /, "")).sort();
      await expect.poll(() => files(openFds(pid)), patiently).toEqual(files(before));
    }));

  it("of a later server is answered too: the inherited bind fallback gets its filter", () =>
    rebinding(async ({ dynasty, fallback }) => {
      const port = await freePort();
      dynasty.config({ "other.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) });
      const heir = await dynasty.replace();
      const script = `${dynasty.folder.path}/rebind.py`;
      await using other = run(dynasty, "other", ["python3", "-u", script, String(port)]);
      other.child.stdin?.write("\n");
      expect(await other.said(1)).toEqual(inodesAt("udp", port));
      await expect.poll(() => [filtersOf(fallback), fallbacksOf(heir.pid)], patiently).toEqual([2, []]);
    }));
});
