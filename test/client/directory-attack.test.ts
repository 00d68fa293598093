/** Trees made to lead out of the directory, and somebody who swaps them meanwhile (hazard 31): nothing gets out. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  constants as files,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DirectoryHandle } from "../../src/client/directory-handle.ts";
import { BerthError, SysError } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native, packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { scripted } from "../support/scripted-native.ts";

/** What files and links of the outside say, and what one is called. */
const SECRET = "what-nobody-may-know";

leaksNothing("soon");
let folder: TestFolder;
let outside: string;
let root: string;

beforeEach(() => {
  folder = new TestFolder({
    "outside/secret": SECRET,
    [`outside/${SECRET}`]: "",
    "outside/a/secret": SECRET,
    secret: SECRET,
  });
  outside = join(folder.path, "outside");
  mkdirSync(join(outside, "empty"));
  symlinkSync(SECRET, join(outside, "pointer"));
  root = join(folder.path, "root");
  mkdirSync(root);
});

afterEach(() => {
  folder[Symbol.dispose]();
});

/** All that is outside the root, with its contents and times: equal as long as nothing was done there. */
function everythingOutside(path: string = folder.path): string[] {
  const stat = lstatSync(path, { bigint: true });
  const line = `${path} ${stat.mode} ${stat.nlink} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
  if (stat.isFile()) return [`${line} ${readFileSync(path, "utf8")}`];
  if (!stat.isDirectory()) return [line];
  const names = readdirSync(path).filter((name) => join(path, name) !== root);
  return [line, ...names.flatMap((name) => everythingOutside(join(path, name)))];
}

type Operation = readonly [
  name: string,
  run: (handle: DirectoryHandle, path: string, other: string) => Promise<unknown>,
];

/** Everything that can be done; what has content or names to give resolves with them. */
const operations: readonly Operation[] = [
  ["readFile", (handle, path) => handle.readFile(path, "utf8")],
  ["writeFile", (handle, path) => handle.writeFile(path, "written")],
  ["append", (handle, path) => handle.writeFile(path, "written", { flag: "a" })],
  ["writeFile, atomic", (handle, path) => handle.writeFile(path, "written", { atomic: true })],
  ["open, new", async (handle, path) => (await handle.open(path, "wx")).close()],
  [
    "O_TMPFILE",
    async (handle, path) => {
      using file = await handle.open(path, 0o20200002);
      return readlinkSync(`/proc/self/fd/${file.fd}`);
    },
  ],
  ["readdir", async (handle, path) => (await handle.readdir(path)).join()],
  ["stat", async (handle, path) => `ino ${(await handle.stat(path)).ino}`],
  ["lstat", async (handle, path) => `ino ${(await handle.lstat(path)).ino}`],
  ["mkdir", (handle, path) => handle.mkdir(path)],
  ["mkdir, recursive", (handle, path) => handle.mkdir(path, { recursive: true })],
  ["rename", (handle, path, other) => handle.rename(path, other)],
  ["rename, new", (handle, path, other) => handle.rename(path, other, { replace: false })],
  ["symlink", (handle, path, other) => handle.symlink(other, path)],
  ["readlink", (handle, path) => handle.readlink(path)],
  ["unlink", (handle, path) => handle.unlink(path)],
  ["rmdir", (handle, path) => handle.rmdir(path)],
  ["rm", (handle, path) => handle.rm(path, { recursive: true, force: true })],
  [
    "directory",
    async (handle, path, other) => {
      using inner = await handle.directory(path);
      return await inner.readFile(other, "utf8");
    },
  ],
];

/** What must never come back: contents, names and inodes of the outside. */
function forbidden(): RegExp {
  const inodes = [folder.path, outside, join(outside, "secret"), join(outside, "a")].map((path) => lstatSync(path).ino);
  return new RegExp(`${SECRET}|^ino (${inodes.join("|")})$|^${outside}/#`);
}

/** Runs one operation; resolves with what it gave, or undefined if it was refused. Anything but a refusal is thrown. */
async function attempt([, run]: Operation, handle: DirectoryHandle, path: string, other: string): Promise<unknown> {
  try {
    return (await run(handle, path, other)) ?? "done";
  } catch (error) {
    if (error instanceof SysError || (error instanceof BerthError && error.code === "USAGE")) return undefined;
    throw error;
  }
}

describe("a hostile tree", () => {
  const name = fc.constantFrom("a", "b", "c", "secret", "..", ".");
  const inside = fc.array(name, { minLength: 1, maxLength: 5 }).map((names) => names.join("/"));
  const leading = fc.constantFrom(
    "",
    "/",
    "../",
    "../../",
    "//",
    "../outside/",
    "OUTSIDE/",
    "/proc/self/root/OUTSIDE/",
  );
  const path = fc.tuple(leading, inside).map(([start, rest]) => start + rest);
  const made = fc.oneof(
    fc.record({ kind: fc.constant("directory"), at: inside, to: path }),
    fc.record({ kind: fc.constant("file"), at: inside, to: path }),
    { arbitrary: fc.record({ kind: fc.constant("link"), at: inside, to: path }), weight: 3 },
  );
  const done = fc.tuple(fc.nat(operations.length - 1), path, path);

  /** Makes the tree with node:fs, as its owner would, but only where that stays in the root. */
  function plant(kind: string, at: string, to: string): void {
    const parts = at.split("/").filter((part) => part !== "." && part !== "..");
    const target = join(root, ...parts);
    try {
      for (let end = 1; end < parts.length; end++) {
        const parent = join(root, ...parts.slice(0, end));
        mkdirSync(parent, { recursive: true });
        if (lstatSync(parent).isSymbolicLink()) return;
      }
      if (kind === "directory") mkdirSync(target);
      else if (kind === "file") writeFileSync(target, "inside", { flag: "wx" });
      else symlinkSync(to.replace("OUTSIDE", outside), target);
    } catch {
      // It is there already, or below a file.
    }
  }

  it("gives nothing of the outside, and changes nothing there, whatever is done to it", async () => {
    const secrets = forbidden();
    let succeeded = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(made, { minLength: 3, maxLength: 12 }),
        fc.array(done, { minLength: 5, maxLength: 25 }),
        async (tree, calls) => {
          rmSync(root, { recursive: true });
          mkdirSync(root);
          for (const { kind, at, to } of tree) plant(kind, at, to);
          const untouched = everythingOutside();
          using handle = await DirectoryHandle.open(root);
          for (const [index, path, other] of calls) {
            const operation = operations[index];
            if (operation === undefined) throw new Error("no operation");
            const [from, to] = [path, other].map((text) => text.replace("OUTSIDE", outside));
            const result = await attempt(operation, handle, from ?? "", to ?? "");
            if (result !== undefined) succeeded++;
            expect(String(result)).not.toMatch(secrets);
            expect(everythingOutside()).toEqual(untouched);
          }
        },
      ),
      { numRuns: 100 },
    );
    expect(succeeded).toBeGreaterThan(100);
  }, 60_000);

  const links = ["OUTSIDE", "../outside", "../../../../../../../OUTSIDE", "a/../../outside", "/../outside", "loop"];

  function plantLinks(): void {
    rmSync(root, { recursive: true });
    mkdirSync(join(root, "a"), { recursive: true });
    symlinkSync("loop", join(root, "loop"));
    links.forEach((to, index) => {
      symlinkSync(to.replace("OUTSIDE", outside), join(root, `link${index}`));
      symlinkSync(`${to.replace("OUTSIDE", outside)}/secret`, join(root, "a", `link${index}`));
    });
  }

  it.each(operations)("%s finds no way out through a link or a path", async (...operation) => {
    const names = ["", "/secret", "/new", "/empty", "/pointer"];
    const ways = [
      ...links.flatMap((_, index) => [...names.map((name) => `link${index}${name}`), `a/link${index}`]),
      ...["../secret", "../outside/secret", `${outside}/secret`, "a/../../secret", `../../..${outside}/new`],
    ];
    for (const way of ways) {
      for (const [from, to] of [
        [way, "taken"],
        ["a", way],
      ] as const) {
        plantLinks();
        const untouched = everythingOutside();
        using handle = await DirectoryHandle.open(root);
        expect(String(await attempt(operation, handle, from, to))).not.toMatch(forbidden());
        expect(everythingOutside()).toEqual(untouched);
      }
    }
  });

  it("would give up its secrets to a plain open: the trees of this test are hostile", async () => {
    symlinkSync("../outside", join(root, "link"));
    using naive = DirectoryHandle.adopt(FdHandle.adopt(openSync(root, files.O_DIRECTORY)), withoutResolve());
    expect(await naive.readFile("link/secret", "utf8")).toBe(SECRET);
    expect(await naive.readFile("../secret", "utf8")).toBe(SECRET);
  });

  it("has no way out through the links of a /proc in it (needs root to mount)", needs("root"), async () => {
    mkdirSync(join(root, "proc"));
    symlinkSync(`/proc/self/root${outside}/secret`, join(root, "magic"));
    execFileSync("mount", ["-t", "proc", "-o", "ro", "proc", join(root, "proc")]);
    const held = FdHandle.adopt(openSync(outside, "r"));
    try {
      const untouched = everythingOutside();
      using handle = await DirectoryHandle.open(root);
      using naive = DirectoryHandle.adopt(handle.handle.dup(), withoutResolve());
      const ways = [
        "magic",
        ...["", "/secret", "/new"].flatMap((rest) => [
          `proc/self/root${outside}${rest}`,
          `proc/thread-self/root${outside}${rest}`,
          `proc/self/fd/${held.fd}${rest}`,
          `/proc/${process.pid}/task/${process.pid}/fd/${held.fd}${rest}`,
        ]),
      ];
      expect(await naive.readFile(`proc/self/fd/${held.fd}/secret`, "utf8")).toBe(SECRET);
      await expect(handle.readFile(`proc/self/fd/${held.fd}/secret`)).rejects.toMatchObject({ errnoName: "ELOOP" });
      for (const operation of operations) {
        for (const way of ways) {
          expect(String(await attempt(operation, handle, way, "taken"))).not.toMatch(forbidden());
          if (operation[0].startsWith("rename")) await attempt(operation, handle, "magic", way);
        }
        expect(everythingOutside()).toEqual(untouched);
      }
      expect(readlinkSync(`/proc/self/fd/${held.fd}`)).toBe(outside);
    } finally {
      held.close();
      execFileSync("umount", [join(root, "proc")]);
    }
  });
});

describe("somebody who swaps a directory for a link to the outside", () => {
  /** Runs `work` while another process exchanges root/swap and root/link as fast as it can. */
  async function attacked(work: () => Promise<void>): Promise<void> {
    const swap = spawn(
      process.execPath,
      [join(packageRoot, "test/fixtures/swap.mjs"), packageRoot, root, "swap", "link"],
      {
        stdio: ["pipe", "pipe", "inherit"],
      },
    );
    const exited = once(swap, "exit");
    try {
      await once(swap.stdout, "data");
      await work();
    } finally {
      swap.stdin.end();
      await exited;
    }
  }

  beforeEach(() => {
    mkdirSync(join(root, "swap/tree/deeper"), { recursive: true });
    for (const name of ["victim", "tree/victim", "tree/deeper/victim"])
      writeFileSync(join(root, "swap", name), "inside");
    symlinkSync("../outside", join(root, "link"));
  });

  it("gets nothing read, written, made, moved or removed there", async () => {
    for (const name of ["victim", "tree"]) writeFileSync(join(outside, name), SECRET);
    mkdirSync(join(outside, "full/of"), { recursive: true });
    const untouched = everythingOutside();
    const secrets = forbidden();
    const outcomes = { succeeded: 0, refused: 0 };
    await attacked(async () => {
      using handle = await DirectoryHandle.open(root);
      for (let round = 0; round < 25; round++) {
        for (const operation of operations) {
          for (const path of ["swap/victim", "swap/new", "swap/../swap/victim", "swap/tree", "swap/full"]) {
            const result = await attempt(operation, handle, path, round % 2 === 0 ? "swap/other" : "swap/tree/other");
            expect(String(result)).not.toMatch(secrets);
            outcomes[result === undefined ? "refused" : "succeeded"]++;
          }
        }
        expect(everythingOutside()).toEqual(untouched);
        await handle.mkdir("swap/tree/deeper", { recursive: true }).catch(() => undefined);
        await handle.writeFile("swap/tree/victim", "inside").catch(() => undefined);
      }
    });
    expect(everythingOutside()).toEqual(untouched);
    expect(outcomes.succeeded).toBeGreaterThan(100);
    expect(outcomes.refused).toBeGreaterThan(100);
  }, 60_000);

  it("gets a plain open to read it, so the attack is one", async () => {
    writeFileSync(join(outside, "victim"), SECRET);
    using naive = DirectoryHandle.adopt(FdHandle.adopt(openSync(root, files.O_DIRECTORY)), withoutResolve());
    const seen = new Set<unknown>();
    await attacked(async () => {
      for (let round = 0; round < 20_000 && seen.size < 2; round++) {
        seen.add(await naive.readFile("swap/victim", "utf8").catch(() => "refused"));
      }
    });
    expect(seen).toContain(SECRET);
  }, 60_000);
});

/** openat2 without any of its bounds: plain openat(2). */
function withoutResolve(): typeof native {
  return scripted({ openat2: (directory, path, flags, mode) => native.openat2(directory, path, flags, mode, 0) });
}
