/** For the tests of this folder: a state folder with images, their roots, and tenants that inspect a root. */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { FdHandle } from "../../src/fd.ts";
import { type Native, native } from "../../src/native.ts";
import { folderState } from "../../src/rootfs/disk/folder-state.ts";
import type { ImageSource } from "../../src/rootfs/images/image-source.ts";
import { rangeAt } from "../../src/rootfs/ranges/range.ts";
import { Root } from "../../src/rootfs/roots/root.ts";
import type { RootRequest } from "../../src/rootfs/roots/root-request.ts";
import { Roots } from "../../src/rootfs/roots/roots.ts";
import { TestFolder } from "../support/broker.ts";

/** The first berth that asks gets the range at this base. Later ones get the ranges after it. */
export const BASE = 0x6000_0000;

/** The request for a `[root]` section that sets only the image. */
export const request: RootRequest = {
  images: ["arena"],
  state: "persistent",
  shift: "idmap",
  nosuid: true,
  nodev: true,
  readOnly: false,
  ready: true,
};

/** The images are the folders in `folder`. */
function imagesIn(folder: string): ImageSource {
  return {
    resolve: (name) => {
      if (name.startsWith("/")) return { name, tree: name, state: folderState(name) ?? "" };
      const tree = join(folder, name);
      const state = folderState(tree);
      return state !== undefined
        ? { name, version: "1", tree, state }
        : { problem: `there is no image ${name}`, remedy: "import it" };
    },
    hold: ({ tree }) => FdHandle.adopt(openSync(tree, "r")),
  };
}

export interface World extends AsyncDisposable {
  readonly folder: TestFolder;
  readonly roots: Roots;
  readonly fallbacks: readonly string[];
  /** Builds the root of a berth, and waits for it. The world closes it at the end. */
  build(berth: string, changes?: Partial<RootRequest>): Promise<Root>;
  /** As {@link build}, but returns the reason for the refusal. */
  refusal(berth: string, changes?: Partial<RootRequest>): Promise<string>;
  /** Releases a root. With `next`, the root for the next lease is built ahead. */
  release(berth: string, root: Root, next?: Partial<RootRequest>): void;
}

/** Makes the image `arena`: files of all kinds that belong to root and to id 33. */
export function makeWorld(sys: Native = native): World {
  const folder = new TestFolder();
  const image = join(folder.path, "arena");
  folder.write({ "arena/etc/motd": "welcome", "arena/home/score": "0", "arena/bin/su": "#!/bin/sh\n" });
  const script = `cd "$1" && mkdir tmp && chmod 1777 tmp && chown 33:33 home home/score && chmod 4755 bin/su &&
    ln -s ../etc/motd home/link && ln etc/motd etc/again && chmod 640 home/score && touch -d @1000000000 etc/motd`;
  const made = spawnSync("sh", ["-c", script, "sh", image], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  const fallbacks: string[] = [];
  const owners: string[] = [];
  const ranges = {
    reserve: (owner: string) => {
      if (!owners.includes(owner)) owners.push(owner);
      return rangeAt(BASE + owners.indexOf(owner) * 65_536);
    },
  };
  const state = join(folder.path, "state");
  mkdirSync(state, { mode: 0o700 });
  const roots = new Roots({
    state,
    images: imagesIn(folder.path),
    ranges,
    onFallback: (reason) => fallbacks.push(reason),
    sys,
  });
  const alive = new Set<Root>();
  const attempt = async (berth: string, changes: Partial<RootRequest>): Promise<Root | string> => {
    for (let tries = 0; tries < 10; tries++) {
      const built = roots.build(berth, { ...request, ...changes });
      if (built instanceof Root) return built;
      const problem = "problem" in built ? built.problem : await built.until;
      if (problem !== undefined) return problem;
    }
    throw new Error("it is never built");
  };
  return {
    folder,
    roots,
    fallbacks,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...alive].map((root) => root.close()));
      roots.close();
      folder[Symbol.dispose]();
    },
    build: async (berth, changes = {}) => {
      const built = await attempt(berth, changes);
      if (!(built instanceof Root)) throw new Error(built);
      alive.add(built);
      return built;
    },
    refusal: async (berth, changes = {}) => {
      const built = await attempt(berth, changes);
      if (!(built instanceof Root)) return built;
      await built.close();
      throw new Error("it was built");
    },
    release: (berth, root, next) => {
      alive.delete(root);
      roots.release(berth, root, next && { ...request, ...next });
    },
  };
}

/** Runs Python as a user, with the root as descriptor 3. Returns what it prints, with errors by name. */
export function tenant(root: Root, uid: number, code: string): string {
  using lent = root.lend();
  return python(lent, uid, code);
}

/** As {@link tenant}, with a descriptor that was lent before. */
export function python(lent: FdHandle, uid: number, code: string): string {
  // Import modules first: the new user may have no right to read them.
  const script = `import ctypes, errno, os, stat, struct, sys
os.setgroups([]); os.setresgid(${uid}, ${uid}, ${uid}); os.setresuid(${uid}, ${uid}, ${uid})
def tried(call, *args, **more):
    try: return call(*args, **more)
    except OSError as error: return errno.errorcode[error.errno]
def opened(path, flags=os.O_RDONLY, mode=0o644):
    return tried(os.open, path, flags, mode, dir_fd=3)
def read(path):
    fd = opened(path)
    return fd if isinstance(fd, str) else os.read(fd, 4096).decode()
def write(path, text):
    fd = opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    return fd if isinstance(fd, str) else os.write(fd, text.encode())
def owner(path):
    found = tried(os.stat, path, dir_fd=3, follow_symlinks=False)
    return found if isinstance(found, str) else "%d:%d %o" % (found.st_uid, found.st_gid, found.st_mode)
${code}`;
  const { stdout, stderr, error } = spawnSync("python3", ["-S", "-c", script], {
    stdio: ["ignore", "pipe", "pipe", lent.fd],
    encoding: "utf8",
  });
  if (error !== undefined) throw error;
  return (stdout + stderr).trim();
}

/** Every file in a folder: path, kind, mode, owner, times and contents. */
export function contentsOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const path = join(folder, name);
      const { mode, uid, gid, nlink, mtimeNs, ino } = lstatSync(path, { bigint: true });
      const content = ((mode & 0o170000n) === 0o120000n && readlinkSync(path)) || "";
      const text = (mode & 0o170000n) === 0o100000n ? readFileSync(path, "latin1") : "";
      return [name, mode.toString(8), uid, gid, nlink, ino, mtimeNs, content, text].join(" ");
    });
}

/** The mounts of this process that concern a folder. Other tests on this machine mount, too. */
export function mountsOf(folder: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(folder));
}
