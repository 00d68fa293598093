/** Any tree with any owners, modes and capabilities, against a model of what shift-own does to it. */
import { chmodSync, lchownSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { modeOf, ownerOf, shiftOwn } from "./support.ts";

const id = fc.oneof(
  fc.integer({ min: 0, max: 70_000 }),
  fc.integer({ min: 0, max: 4_294_967_294 }),
  fc.constantFrom(0, 65_534, 65_535, 65_536, 196_608, 4_294_967_294),
);

const node = fc.record({
  kind: fc.constantFrom("file", "folder", "symlink", "link"),
  /** Which of the folders, and of the files for a link, before it. */
  place: fc.nat(),
  target: fc.nat(),
  uid: id,
  gid: id,
  mode: fc.constantFrom(0o644, 0o755, 0o4755, 0o2755, 0o6711, 0o2644, 0o1777, 0),
});

const range = fc
  .record({ base: id, count: fc.oneof(fc.constant(65_536), fc.integer({ min: 1, max: 200_000 })) })
  .filter(({ base, count }) => base + count <= 4_294_967_295);

interface Inode {
  uid: number;
  gid: number;
  readonly mode: string | undefined;
}

describe("shift-own (needs root)", needs("root"), () => {
  test("every file of every tree gets the model's owner and keeps its mode, once and for all", {
    timeout: 120_000,
  }, () => {
    fc.assert(
      fc.property(
        fc.array(node, { maxLength: 25 }),
        range,
        fc.integer({ min: 1, max: 4 }),
        (nodes, { base, count }, threads) => {
          using folder = new TestFolder();
          const root = join(folder.path, "tree");
          const inodes = new Map<string, Inode>();
          const folders = [root];
          const files: string[] = [];
          mkdirSync(root);
          inodes.set(root, { uid: 0, gid: 0, mode: modeOf(root) });
          for (const [index, { kind, place, target, uid, gid, mode }] of nodes.entries()) {
            const path = join(folders[place % folders.length] ?? root, `${kind}-${index}`);
            const original = files[target % Math.max(files.length, 1)];
            const inode = original === undefined ? undefined : inodes.get(original);
            if (kind === "link" && original !== undefined && inode !== undefined) {
              linkSync(original, path);
              inodes.set(path, inode);
              continue;
            }
            if (kind === "folder") mkdirSync(path);
            else if (kind === "symlink") symlinkSync("/", path);
            else writeFileSync(path, "");
            if (kind === "folder") folders.push(path);
            else if (kind !== "symlink") files.push(path);
            lchownSync(path, uid, gid);
            if (kind !== "symlink") chmodSync(path, mode);
            inodes.set(path, { uid, gid, mode: kind === "symlink" ? undefined : modeOf(path) });
          }
          const map = (from: number): number => (from >= base && from < base + count ? from : (from % count) + base);
          const all = new Set(inodes.values());
          const changed = [...all].filter(({ uid, gid }) => map(uid) !== uid || map(gid) !== gid).length;
          const args = ["--json", "-j", String(threads), "-s", String(base), "-r", String(count), root];
          for (const shifted of [changed, 0]) {
            const { code, stdout, stderr } = shiftOwn(args);
            expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
            expect(JSON.parse(stdout)).toMatchObject({ shifted, unchanged: all.size - shifted, failed: 0, mounts: 0 });
            for (const [path, { uid, gid, mode }] of inodes) {
              expect(ownerOf(path)).toBe(`${map(uid)}:${map(gid)}`);
              if (mode !== undefined) expect(modeOf(path)).toBe(mode);
            }
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
