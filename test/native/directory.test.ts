/** The calls of directory.cc: what they return, their errno, and names that are no text. */
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";

const { EBADF, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY } = constants.errno;
const [O_RDONLY, O_DIRECTORY, O_PATH, O_CREAT, O_WRONLY] = [0, 0o200000, 0o10000000, 0o100, 1];
const [RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT, RENAME_NOREPLACE, AT_REMOVEDIR] = [0x04, 0x10, 1, 0x200];
const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

leaksNothing();
let folder: TestFolder;
let root: FdHandle;

beforeEach(() => {
  folder = new TestFolder({ "a/file": "hello" });
  root = FdHandle.adopt(native.openat2(-100, bytes(folder.path), O_PATH | O_DIRECTORY, 0, 0));
});

afterEach(() => {
  root.close();
  folder[Symbol.dispose]();
});

it("openat2 opens close-on-exec, honours resolve and mode, and says why not", () => {
  const open = (path: string, flags = O_RDONLY, mode = 0, resolve = 0): number =>
    native.openat2(root.fd, bytes(path), flags, mode, resolve);
  using file = FdHandle.adopt(open("a/file"));
  expect(native.getfd(file.fd)).toBe(1);
  expect(readFileSync(file.fd, "utf8")).toBe("hello");
  symlinkSync("/a", `${folder.path}/link`);
  expect(open("link/file")).toBe(-ENOENT);
  using inside = FdHandle.adopt(open("link/file", O_RDONLY, 0, RESOLVE_IN_ROOT));
  expect(readlinkSync(`/proc/self/fd/${inside.fd}`)).toBe(`${folder.path}/a/file`);
  expect(open("link/file", O_RDONLY, 0, RESOLVE_NO_SYMLINKS)).toBe(-ELOOP);
  using made = FdHandle.adopt(open("new", O_CREAT | O_WRONLY, 0o600));
  expect(made.open).toBe(true);
  expect(open("a/file", O_RDONLY, 0o600)).toBe(-EINVAL); // a mode, and nothing to make
  expect(open("a/file", O_RDONLY, 0, 1 << 30)).toBe(-EINVAL);
  expect(open("x".repeat(5000))).toBe(-ENAMETOOLONG);
  expect(open("none")).toBe(-ENOENT);
});

it("mkdirat, renameat2, symlinkat, readlinkat and unlinkat act on a name in a directory", () => {
  expect(native.mkdirat(root.fd, bytes("made"), 0o755)).toBe(0);
  expect(native.mkdirat(root.fd, bytes("made"), 0o755)).toBe(-EEXIST);
  expect(native.symlinkat(bytes("anywhere"), root.fd, bytes("link"))).toBe(0);
  const target = new Uint8Array(20);
  expect(native.readlinkat(root.fd, bytes("link"), target)).toBe(8);
  expect(Buffer.from(target.subarray(0, 8)).toString()).toBe("anywhere");
  expect(native.readlinkat(root.fd, bytes("link"), new Uint8Array(3))).toBe(3);
  expect(native.readlinkat(root.fd, bytes("made"), target)).toBe(-EINVAL);
  expect(native.renameat2(root.fd, bytes("link"), root.fd, bytes("made"), RENAME_NOREPLACE)).toBe(-EEXIST);
  expect(native.renameat2(root.fd, bytes("link"), root.fd, bytes("other"), 0)).toBe(0);
  expect(native.unlinkat(root.fd, bytes("made"), 0)).toBe(-EISDIR);
  expect(native.unlinkat(root.fd, bytes("a"), AT_REMOVEDIR)).toBe(-ENOTEMPTY);
  expect(native.unlinkat(root.fd, bytes("other"), AT_REMOVEDIR)).toBe(-ENOTDIR);
  expect(native.unlinkat(root.fd, bytes("other"), 0)).toBe(0);
  expect(native.unlinkat(root.fd, bytes("made"), AT_REMOVEDIR)).toBe(0);
  expect(native.unlinkat(9999, bytes("x"), 0)).toBe(-EBADF);
});

it("getdents64 gives whole records until there are none, and names as bytes", () => {
  const odd = Buffer.from([0x66, 0xff, 0xfe]);
  writeFileSync(Buffer.concat([bytes(`${folder.path}/`), odd]), "");
  mkdirSync(`${folder.path}/empty`);
  using list = FdHandle.adopt(native.openat2(root.fd, bytes("."), O_RDONLY | O_DIRECTORY, 0, 0));
  const records = Buffer.alloc(4096);
  const length = native.getdents64(list.fd, records);
  expect(length).toBeGreaterThan(0);
  expect(records.subarray(0, length).includes(odd)).toBe(true);
  expect(native.getdents64(list.fd, records)).toBe(0);
  expect(native.getdents64(list.fd, new Uint8Array(1))).toBe(0); // at the end nothing has to fit
  expect(native.getdents64(root.fd, records)).toBe(-EBADF); // O_PATH
  using file = FdHandle.adopt(native.openat2(root.fd, bytes("a/file"), O_RDONLY, 0, 0));
  expect(native.getdents64(file.fd, records)).toBe(-ENOTDIR);
});

it("a name with a NUL in it is refused instead of being cut", () => {
  expect(() => native.openat2(root.fd, bytes("a\0b"), 0, 0, 0)).toThrow("without NUL");
  expect(() => native.unlinkat(root.fd, bytes("a\0"), 0)).toThrow("without NUL");
});
