/**
 * Roots in numbers: hundreds on one image, and nothing of them left in the kernel when their descriptors are closed.
 */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { contentsOf } from "../rootfs/world.ts";
import { TestFolder } from "../support/broker.ts";
import { expectFdsAgain, settledFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { fixtures } from "../support/puppet.ts";

const COUNT = 500;

/** What test/fixtures/rootfs/many-roots.mjs saw. */
interface Seen {
  /** `4026531836 user`. */
  readonly namespaces: readonly string[];
  readonly mounts: readonly string[];
  readonly processes: readonly string[];
  /** Namespaces that a process has a descriptor of. */
  readonly held: readonly string[];
  /** Descriptors of mounts that are attached nowhere. */
  readonly roots: number;
}
type Stage = "empty" | "idle" | "taken" | "attached" | "released" | "unready" | "ended";

const only = (more: readonly string[], less: readonly string[]): string[] =>
  more.filter((line) => !less.includes(line));

describe(`${COUNT} berths on one image (needs root)`, needs("root", "unshare", "lsns"), () => {
  test("taken at once are no mounts, processes or namespaces, and none is left when all is closed", {
    timeout: 120_000,
  }, async () => {
    const before = await settledFds();
    {
      using folder = new TestFolder({ "arena/etc/motd": "welcome" });
      const image = contentsOf(join(folder.path, "arena"));
      // A first process with nobody else's around it: whatever appears there comes of the broker and its tenants.
      const alone = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--", process.execPath];
      const { stdout } = await promisify(execFile)(
        "unshare",
        [...alone, join(fixtures, "rootfs/many-roots.mjs"), folder.path, String(COUNT)],
        { timeout: 110_000, killSignal: "SIGKILL", maxBuffer: 1 << 24 },
      );
      const { said, ...seen } = JSON.parse(stdout) as Readonly<Record<Stage, Seen>> & { readonly said: string };
      expect(seen.empty).toMatchObject({ processes: ["node"], held: [], roots: 0 });
      expect([...seen.idle.processes].sort()).toEqual(["berth-guard", "berth-guard", "node", "node"]);
      const { roots, ...taken } = seen.taken;
      // The broker has each once at least, and its tenant.
      expect(roots).toBeGreaterThanOrEqual(2 * COUNT);
      expect({ ...taken, roots: 0 }).toEqual(seen.idle);

      // lsns does see what a tenant makes of a root, for as long as it lives; and the root works.
      expect(said).toBe("mine of 0");
      expect(only(seen.attached.processes, seen.idle.processes)).toEqual(["python3"]);
      const made = only(seen.attached.namespaces, seen.idle.namespaces);
      expect(made.map((line) => line.split(" ")[1]).sort()).toEqual(["mnt", "user"]);

      // One stands ready for each berth's next lease, a descriptor of the broker's and nothing else, for as long as it
      // is to.
      expect(seen.released).toEqual({ ...seen.idle, roots: COUNT });
      expect(seen.unready).toEqual(seen.idle);
      expect(seen.ended).toEqual(seen.empty);
      expect(contentsOf(join(folder.path, "arena"))).toEqual(image);
      const written = readdirSync(join(folder.path, "state/roots"), { recursive: true, withFileTypes: true });
      expect(written.filter((entry) => !entry.isDirectory())).toEqual([]);
    }
    await expectFdsAgain(before);
  });
});
