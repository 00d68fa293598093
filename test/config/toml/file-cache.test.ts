import { readFileSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ConfigFile, FileCache } from "../../../src/config/toml/file-cache.ts";
import { folder } from "../fixture.ts";

/** A cache for which every file was changed `ageMs` ago, and how often it has read a file. */
function cacheOf(ageMs: number): { readonly again: (path: string) => ConfigFile; readonly reads: () => number } {
  let reads = 0;
  const count = (path: string): Uint8Array => {
    reads++;
    return readFileSync(path);
  };
  const cache = new FileCache(count, () => Date.now() + ageMs);
  const again = (path: string): ConfigFile => {
    const { read, done } = cache.begin();
    const file = read(path);
    done();
    return file;
  };
  return { again, reads: () => reads };
}

const OLD = 60_000;

describe("a file of the configuration", () => {
  it("that has not changed is read once, and is the same object", () => {
    const path = join(folder({ "a.toml": "a = 1" }), "a.toml");
    const { again, reads } = cacheOf(OLD);
    const first = again(path);
    expect(first.content).toEqual({ kind: "text", text: "a = 1" });
    expect(again(path)).toBe(first);
    expect(again(path)).toBe(first);
    expect(reads()).toBe(1);
  });

  it("that was changed shortly before it was read is read again: another change may leave its times the same", () => {
    const path = join(folder({ "a.toml": "a = 1" }), "a.toml");
    const { again, reads } = cacheOf(0);
    const first = again(path);
    expect(again(path)).toBe(first);
    expect(reads()).toBe(2);
  });

  it("whose change keeps its size and its time of modification is read again", () => {
    const path = join(folder({ "a.toml": "a = 1" }), "a.toml");
    const { again } = cacheOf(OLD);
    again(path);
    const { mtime, size, ctimeMs } = statSync(path);
    // The clock of a file system ticks every few milliseconds.
    for (const end = Date.now() + 10_000; statSync(path).ctimeMs === ctimeMs && Date.now() < end; ) {
      writeFileSync(path, "a = 2");
      utimesSync(path, mtime, mtime);
    }
    expect(statSync(path)).toMatchObject({ size, mtime });
    expect(again(path).content).toEqual({ kind: "text", text: "a = 2" });
  });

  it("that another one was renamed to is read again", () => {
    const root = folder({ "a.toml": "a = 1", "b.toml": "a = 2" });
    const { again } = cacheOf(OLD);
    again(join(root, "a.toml"));
    renameSync(join(root, "b.toml"), join(root, "a.toml"));
    expect(again(join(root, "a.toml")).content).toEqual({ kind: "text", text: "a = 2" });
  });

  it("that was written anew with the same text is the same object", () => {
    const path = join(folder({ "a.toml": "a = 1" }), "a.toml");
    const { again } = cacheOf(OLD);
    const first = again(path);
    rmSync(path);
    writeFileSync(path, "a = 1");
    expect(again(path)).toBe(first);
  });

  it("is what its link leads to now", () => {
    const root = folder({ "a.toml": { link: "one" }, one: "a = 1", two: "a = 2" });
    const { again } = cacheOf(OLD);
    again(join(root, "a.toml"));
    rmSync(join(root, "a.toml"));
    symlinkSync("two", join(root, "a.toml"));
    expect(again(join(root, "a.toml")).content).toEqual({ kind: "text", text: "a = 2" });
    rmSync(join(root, "a.toml"));
    symlinkSync("/dev/null", join(root, "a.toml"));
    expect(again(join(root, "a.toml")).content).toEqual({ kind: "null" });
    rmSync(join(root, "two"));
    rmSync(join(root, "a.toml"));
    symlinkSync("two", join(root, "a.toml"));
    expect(() => again(join(root, "a.toml"))).toThrow("ENOENT");
  });

  it("that is long is not kept", () => {
    const path = join(folder({ "a.toml": "#".repeat(20_000) }), "a.toml");
    const { again, reads } = cacheOf(OLD);
    again(path);
    again(path);
    expect(reads()).toBe(2);
  });
});
