import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  constants as files,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { ATTEMPTS } from "../../src/client/directory/beneath.ts";
import { DEPTH } from "../../src/client/directory/remove.ts";
import { DirectoryHandle } from "../../src/client/directory-handle.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { FakeService } from "../support/fake-service.ts";
import { expectFdsAgain, openFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { scripted } from "../support/scripted-native.ts";
import { fileOf, memfd } from "../support/sockets.ts";

const { EAGAIN, ENOSYS, EXDEV } = constants.errno;

let before: string[];
let folder: TestFolder;
let root: DirectoryHandle;

beforeEach(async () => {
  before = openFds();
  folder = new TestFolder({ "outside/secret": "secret", "root/a/file": "hello", "root/other": "other" });
  root = await DirectoryHandle.open(at());
});

afterEach(async () => {
  root.close();
  folder[Symbol.dispose]();
  await expectFdsAgain(before);
});

/** The real path of what stands in the root. */
function at(...names: string[]): string {
  return join(folder.path, "root", ...names);
}

const system = (errnoName: string, syscall = "openat2"): unknown =>
  expect.objectContaining({ code: "SYSTEM_ERROR", errnoName, syscall });
const usage = (what: string): unknown =>
  expect.objectContaining({ code: "USAGE", message: expect.stringContaining(what) });

describe("the handle", () => {
  it("opens a directory by its path, and nothing else", async () => {
    expect(fileOf(root.handle)).toBe(fileOfPath(at()));
    await expect(DirectoryHandle.open(at("none"))).rejects.toEqual(system("ENOENT"));
    await expect(DirectoryHandle.open(at("other"))).rejects.toEqual(system("ENOTDIR"));
    await expect(DirectoryHandle.open("")).rejects.toEqual(usage("empty"));
  });

  it("adopts a directory's descriptor, and leaves any other to its owner", () => {
    using file = memfd();
    expect(() => DirectoryHandle.adopt(file)).toThrow(expect.objectContaining({ code: "DESCRIPTOR_MISMATCH" }));
    expect(file.open).toBe(true);
    const handle = FdHandle.adopt(openSync(at(), "r"));
    {
      using adopted = DirectoryHandle.adopt(handle);
      expect(adopted.handle).toBe(handle);
    }
    expect(handle.open).toBe(false);
  });

  it("is closed once; what is used afterwards throws, what was opened stays open", async () => {
    const file = await root.open("other");
    root.close();
    root.close();
    await root[Symbol.asyncDispose]();
    expect(readFileSync(file.fd, "utf8")).toBe("other");
    file.close();
    for (const call of [root.open("other"), root.readFile("other"), root.stat("."), root.mkdir("x"), root.readdir()])
      await expect(call).rejects.toMatchObject({ code: "DESCRIPTOR_CLOSED" });
  });

  it("directory() is a root of its own", async () => {
    symlinkSync("/other", at("a/up"));
    await using inner = await root.directory("a");
    expect(await inner.readFile("../../file", "utf8")).toBe("hello");
    await expect(inner.readFile("up")).rejects.toEqual(system("ENOENT"));
    expect(await root.readFile("a/up", "utf8")).toBe("other");
    await expect(root.directory("other")).rejects.toEqual(system("ENOTDIR"));
  });
});

describe("files", () => {
  it("open gives an owned descriptor, as the letters or numbers say", async () => {
    using file = await root.open("new", "wx+", 0o640);
    writeSync(file.fd, "text");
    expect(fstatSync(file.fd).mode & 0o777).toBe(0o640 & ~process.umask());
    expect(readFileSync(at("new"), "utf8")).toBe("text");
    expect(native.getfd(file.fd)).toBe(1);
    await expect(root.open("new", "wx")).rejects.toEqual(system("EEXIST"));
    using appended = await root.open("new", files.O_WRONLY | files.O_APPEND);
    writeSync(appended.fd, "!");
    expect(readFileSync(at("new"), "utf8")).toBe("text!");
    using emptied = await root.open("new", "r+");
    expect(fstatSync(emptied.fd).size).toBe(5);
    (await root.open("new", "w")).close();
    expect(fstatSync(emptied.fd).size).toBe(0);
    using nameless = await root.open(".", 0o20000000 | files.O_DIRECTORY | files.O_RDWR, 0o600); // O_TMPFILE
    expect(fstatSync(nameless.fd)).toMatchObject({ nlink: 0 });
    // @ts-expect-error no such letters
    await expect(root.open("new", "rw")).rejects.toEqual(usage('"rw"'));
  });

  it("appendFile makes a file, and writes to its end", async () => {
    await root.appendFile("log", "grü", { mode: 0o600 });
    await root.appendFile("log", "c39f65", "hex");
    expect(readFileSync(at("log"), "utf8")).toBe("grüße");
    expect(statSync(at("log")).mode & 0o777).toBe(0o600);
    await expect(root.appendFile("a", "x")).rejects.toEqual(system("EISDIR"));
    const signal = AbortSignal.abort(new Error("no longer"));
    await expect(root.appendFile("log", "x", { signal })).rejects.toThrow("no longer");
  });

  it("copyFile copies bytes and mode as node:fs does, over an old file too, and never loses a file copied onto itself", async () => {
    const bytes = Buffer.alloc((1 << 20) + 5, "abc");
    writeFileSync(at("from"), bytes, { mode: 0o640 });
    writeFileSync(at("to"), Buffer.alloc(3 << 20), { mode: 0o600 });
    await root.copyFile("from", "to");
    expect(readFileSync(at("to")).equals(bytes)).toBe(true);
    expect(statSync(at("to")).mode & 0o777).toBe(0o640);
    symlinkSync("from", at("same"));
    await root.copyFile("from", "same");
    expect(readFileSync(at("from")).equals(bytes)).toBe(true);
    await expect(root.copyFile("from", "to", { replace: false })).rejects.toEqual(system("EEXIST"));
    await expect(root.copyFile("none", "to")).rejects.toEqual(system("ENOENT"));
    await expect(root.copyFile("a", "new")).rejects.toEqual(system("EISDIR", "read"));
    expect(existsSync(at("new"))).toBe(false);
    const signal = AbortSignal.abort(new Error("no longer"));
    await expect(root.copyFile("from", "new", { signal })).rejects.toThrow("no longer");
  });

  it("copyFile cannot read or write outside", async () => {
    symlinkSync("/secret", at("out"));
    symlinkSync("../outside/secret", at("out2"));
    for (const link of ["out", "out2"]) {
      await expect(root.copyFile(link, "copy")).rejects.toEqual(system("ENOENT"));
    }
    await root.copyFile("other", "out");
    expect(readFileSync(at("secret"), "utf8")).toBe("other");
    expect(readFileSync(join(folder.path, "outside/secret"), "utf8")).toBe("secret");
  });

  it("readFile and writeFile do what those of node:fs do", async () => {
    await root.writeFile("b", "grüße");
    expect(await root.readFile("b")).toEqual(Buffer.from("grüße"));
    expect(await root.readFile("b", "utf8")).toBe("grüße");
    await root.writeFile("b", new Uint8Array([104, 105]), { flag: "a", mode: 0o600 });
    expect(await root.readFile("/b", { encoding: "latin1" })).toBe(Buffer.from("grüßehi").toString("latin1"));
    await root.writeFile("b", "short");
    await root.writeFile("b", "ff", "hex");
    expect(await root.readFile("b")).toEqual(Buffer.from([255]));
    await root.writeFile("empty", "");
    expect(await root.readFile("empty", "utf8")).toBe("");
    await expect(root.writeFile("b", "x", { flag: "wx" })).rejects.toEqual(system("EEXIST"));
    await expect(root.readFile("none")).rejects.toEqual(system("ENOENT"));
    await expect(root.readFile("a")).rejects.toEqual(system("EISDIR", "read"));
    await expect(root.writeFile("a", "x")).rejects.toEqual(system("EISDIR"));
    await expect(root.writeFile("other/x", "x")).rejects.toEqual(system("ENOTDIR"));
  });

  it("streams read and write, and close their files", async () => {
    const out = await root.createWriteStream("stream", { mode: 0o600 });
    out.write("0123");
    out.end("456789");
    await once(out, "close");
    expect(statSync(at("stream")).mode & 0o777).toBe(0o600);
    expect(await text(await root.createReadStream("stream", { start: 2, end: 5 }))).toBe("2345");
    const more = await root.createWriteStream("stream", { flags: "a" });
    more.end("x".repeat(100_000));
    await once(more, "close");
    expect((await text(await root.createReadStream("stream", { encoding: "utf8", highWaterMark: 10 }))).length).toBe(
      100_010,
    );
    const controller = new AbortController();
    const aborted = await root.createReadStream("stream", { signal: controller.signal });
    const ended = once(aborted, "error");
    controller.abort();
    expect((await ended)[0]).toMatchObject({ name: "AbortError" });
    await expect(root.createReadStream("none")).rejects.toEqual(system("ENOENT"));
  });

  it("what is large is emptied, replaced and removed without a descriptor left, and its bytes are freed", async () => {
    const large = (name: string): void => writeFileSync(at(name), Buffer.alloc(1 << 20, 1));
    for (const name of ["emptied", "replaced", "renamed", "unlinked", "removed"]) large(name);
    using watch = FdHandle.adopt(openSync(at("emptied"), "r"));
    await root.writeFile("emptied", "x");
    expect(fstatSync(watch.fd)).toMatchObject({ size: 1 });
    await root.writeFile("replaced", "x", { atomic: true });
    await root.rename("other", "renamed");
    await root.unlink("unlinked");
    await root.rm("removed", { recursive: true });
    expect(readdirSync(at()).sort()).toEqual(["a", "emptied", "renamed", "replaced"]);
    expect(statSync(at("replaced")).size).toBe(1);
    await expect(root.readFile("renamed", "utf8")).resolves.toBe("other");
  });

  it("a file that grows while it is read is read to its end; one that claims to be larger than memory is EFBIG", async () => {
    let grown = 0;
    using out = FdHandle.adopt(openSync(at("other"), "a"));
    writeSync(out.fd, "x".repeat(20_000));
    const growing = root.readFile("other");
    while (grown < 3) {
      writeSync(out.fd, "y".repeat(20_000));
      grown++;
      await setImmediate();
    }
    const length = (await growing).length;
    expect(length).toBeGreaterThanOrEqual(20_005);
    expect((await root.readFile("/other")).length).toBe(20_005 + 3 * 20_000);
    await using proc = await DirectoryHandle.open("/proc");
    expect(await proc.readFile("self/status", "utf8")).toContain("Pid:"); // its size is 0
    truncateSync(at("other"), 2 ** 43);
    await expect(root.readFile("other")).rejects.toEqual(system("EFBIG", "read"));
  });

  it("reading and writing can be given up, and leave no descriptor", async () => {
    const data = Buffer.alloc(32 << 20);
    await root.writeFile("large", data);
    for (const start of [
      (signal: AbortSignal) => root.readFile("large", { signal }),
      (signal: AbortSignal) => root.writeFile("large", data, { signal }),
    ]) {
      const controller = new AbortController();
      const work = start(controller.signal);
      controller.abort(new Error("no longer"));
      await expect(work).rejects.toThrow("no longer");
      await expect(start(AbortSignal.abort(new Error("never began")))).rejects.toThrow("never began");
    }
  });

  it("does not wait for the other end of a FIFO", async () => {
    execFileSync("mkfifo", [at("fifo")]);
    expect(await root.readFile("fifo", "utf8")).toBe("");
    await expect(root.writeFile("fifo", "x")).rejects.toEqual(system("ENXIO"));
    expect((await root.stat("fifo")).isFIFO()).toBe(true);
  });
});

describe("an atomic write", () => {
  it("replaces the file, which who has it open still reads", async () => {
    using old = FdHandle.adopt(openSync(at("other"), "r"));
    await root.writeFile("other", "new", { atomic: true, mode: 0o600 });
    expect([readFileSync(old.fd, "utf8"), readFileSync(at("other"), "utf8")]).toEqual(["other", "new"]);
    expect(statSync(at("other")).mode & 0o777).toBe(0o600);
    expect(readdirSync(at()).sort()).toEqual(["a", "other"]);
  });

  it("replaces a link instead of following it", async () => {
    symlinkSync("other", at("link"));
    await root.writeFile("link", "new", { atomic: true });
    expect(lstatSync(at("link")).isFile()).toBe(true);
    expect(readFileSync(at("other"), "utf8")).toBe("other");
  });

  it("that fails or is aborted leaves the old file, and no other", async () => {
    await expect(root.writeFile("a", "x", { atomic: true })).rejects.toEqual(system("EISDIR", "renameat2"));
    const signal = AbortSignal.abort(new Error("no longer"));
    await expect(root.writeFile("other", "x", { atomic: true, signal })).rejects.toThrow("no longer");
    const controller = new AbortController();
    const data = Buffer.alloc(8 << 20);
    const writing = root.writeFile("other", data, { atomic: true, signal: controller.signal });
    controller.abort(new Error("changed my mind"));
    await expect(writing).rejects.toThrow("changed my mind");
    await expect(root.writeFile("other", "x", { atomic: true, flag: "a" })).rejects.toEqual(usage('"a"'));
    expect(readdirSync(at()).sort()).toEqual(["a", "other"]);
    expect(readFileSync(at("other"), "utf8")).toBe("other");
  });
});

describe("directories", () => {
  it("readdir gives names, or entries with their types", async () => {
    symlinkSync("nowhere", at("link"));
    execFileSync("mkfifo", [at("fifo")]);
    const server = createServer().listen(at("socket"));
    await once(server, "listening");
    expect((await root.readdir()).sort()).toEqual(["a", "fifo", "link", "other", "socket"]);
    const types = (await root.readdir("/", { withFileTypes: true })).map(({ name, type }) => [name, type]);
    const expected = { a: "directory", fifo: "fifo", link: "symlink", other: "file", socket: "socket" };
    expect(Object.fromEntries(types)).toEqual(expected);
    // A file system that does not say: the entries are asked one by one.
    await using quiet = DirectoryHandle.adopt(root.handle.dup(), withoutTypes());
    const asked = (await quiet.readdir(".", { withFileTypes: true })).map(({ name, type }) => [name, type]);
    expect(Object.fromEntries(asked)).toEqual(expected);
    await expect(root.readdir("other")).rejects.toEqual(system("ENOTDIR"));
    server.close();
    await once(server, "close");
  });

  it("readdir of many entries gives each once, lets others run, and can be given up", async () => {
    const names = Array.from({ length: 3000 }, (_, index) => `file-${index}`);
    for (const name of names) closeSync(openSync(at("a", name), "w"));
    let turns = 0;
    let done = false;
    const listing = root.readdir("a").finally(() => {
      done = true;
    });
    while (!done) {
      turns++;
      await setImmediate();
    }
    expect((await listing).sort()).toEqual([...names, "file"].sort());
    expect(turns).toBeGreaterThan(5);
    const controller = new AbortController();
    const aborted = root.readdir("a", { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
  });

  it("mkdir makes one, or all that are missing", async () => {
    await root.mkdir("x/", { mode: 0o700 });
    expect(statSync(at("x")).mode & 0o777).toBe(0o700);
    await expect(root.mkdir("x")).rejects.toEqual(system("EEXIST", "mkdirat"));
    await expect(root.mkdir("y/z")).rejects.toEqual(system("ENOENT"));
    await root.mkdir("/y//z/./w/../v/", { recursive: true });
    await root.mkdir("y/z", { recursive: true });
    await root.mkdir(".", { recursive: true });
    expect(readdirSync(at("y/z")).sort()).toEqual(["v", "w"]);
    await expect(root.mkdir("other", { recursive: true })).rejects.toEqual(system("ENOTDIR"));
    await expect(root.mkdir("other/x", { recursive: true })).rejects.toEqual(system("ENOTDIR"));
  });

  it("rename moves, replaces, or refuses to", async () => {
    await root.rename("other", "a/moved");
    expect(readFileSync(at("a/moved"), "utf8")).toBe("other");
    await expect(root.rename("a/moved", "a/file", { replace: false })).rejects.toEqual(system("EEXIST", "renameat2"));
    await root.rename("a/moved", "a/file");
    expect(readFileSync(at("a/file"), "utf8")).toBe("other");
    await root.rename("a/", "b");
    await expect(root.rename("b", "b/inside")).rejects.toEqual(system("EINVAL", "renameat2"));
    await expect(root.rename("none", "x")).rejects.toEqual(system("ENOENT", "renameat2"));
  });

  it("symlink and readlink take and give any target; stat follows, lstat does not", async () => {
    await root.symlink("/../../other", "link");
    expect(readlinkSync(at("link"))).toBe("/../../other");
    expect(await root.readlink("link")).toBe("/../../other");
    expect((await root.stat("link")).isFile()).toBe(true);
    expect((await root.lstat("link")).isSymbolicLink()).toBe(true);
    await expect(root.readlink("other")).rejects.toMatchObject({ syscall: "readlinkat" });
    await root.symlink("x".repeat(4095), "long");
    expect((await root.readlink("long")).length).toBe(4095);
    await root.symlink(Buffer.from([0xff]), "bytes");
    await expect(root.readlink("bytes")).rejects.toEqual(usage("not UTF-8"));
    expect(await root.readlink("bytes", { encoding: "buffer" })).toEqual(Buffer.from([0xff]));
  });

  it("unlink and rmdir remove a name of their kind", async () => {
    await expect(root.unlink("a")).rejects.toEqual(system("EISDIR", "unlinkat"));
    await expect(root.rmdir("a")).rejects.toEqual(system("ENOTEMPTY", "unlinkat"));
    await expect(root.rmdir("other")).rejects.toEqual(system("ENOTDIR", "unlinkat"));
    await root.unlink("a/file");
    await root.rmdir("a/");
    await root.unlink("other");
    expect(readdirSync(at())).toEqual([]);
    await expect(root.unlink("other")).rejects.toEqual(system("ENOENT", "unlinkat"));
  });
});

describe("rm", () => {
  it("removes a file; a directory only if asked to; and says nothing of what is not there only if asked to", async () => {
    await root.rm("other");
    await expect(root.rm("a")).rejects.toEqual(system("EISDIR", "unlinkat"));
    await root.rm("a", { recursive: true });
    expect(readdirSync(at())).toEqual([]);
    await expect(root.rm("none")).rejects.toEqual(system("ENOENT", "unlinkat"));
    await expect(root.rm("none", { recursive: true })).rejects.toEqual(system("ENOENT"));
    await root.rm("none", { force: true });
    await root.rm("no/parent", { recursive: true, force: true });
  });

  it("removes a large tree, links in it and not what they lead to, and lets others run meanwhile", async () => {
    for (let index = 0; index < 60; index++) {
      mkdirSync(at(`a/${index}/deeper`), { recursive: true });
      for (let file = 0; file < 20; file++) closeSync(openSync(at(`a/${index}/deeper/${file}`), "w"));
      symlinkSync("../../other", at(`a/${index}/link`));
      symlinkSync(join(folder.path, "outside"), at(`a/${index}/out`));
    }
    let turns = 0;
    let done = false;
    const removing = root.rm("a", { recursive: true }).finally(() => {
      done = true;
    });
    while (!done) {
      turns++;
      await setImmediate();
    }
    await removing;
    expect(turns).toBeGreaterThan(60);
    expect(readdirSync(at())).toEqual(["other"]);
    expect(readFileSync(join(folder.path, "outside/secret"), "utf8")).toBe("secret");
  });

  it("holds a bounded number of descriptors however deep the tree is", async () => {
    const levels = DEPTH * 12;
    let current = FdHandle.adopt(openSync(at("a"), "r"));
    for (let level = 0; level < levels; level++) {
      native.mkdirat(current.fd, Buffer.from("deep"), 0o755);
      const next = FdHandle.adopt(native.openat2(current.fd, Buffer.from("deep"), files.O_DIRECTORY, 0, 0));
      current.close();
      current = next;
    }
    current.close();
    let most = 0;
    const counting = scripted({
      unlinkat: (...args) => {
        most = Math.max(most, readdirSync("/proc/self/fd").length);
        return native.unlinkat(...args);
      },
    });
    await using counted = DirectoryHandle.adopt(root.handle.dup(), counting);
    await counted.rm("a", { recursive: true });
    expect(existsSync(at("a"))).toBe(false);
    expect(most - before.length).toBeLessThan(DEPTH + 10);
  });

  it("goes on with a descriptor for each level where directories cannot be moved, as in an overlay", async () => {
    mkdirSync(at("a", ...new Array<string>(DEPTH * 2).fill("d")), { recursive: true });
    await using fixed = DirectoryHandle.adopt(root.handle.dup(), scripted({ renameat2: () => -EXDEV }));
    await fixed.rm("a", { recursive: true });
    expect(existsSync(at("a"))).toBe(false);
  });

  it("gives up when somebody keeps filling the directory, and when it is told to", async () => {
    const filling = scripted({
      unlinkat: (directory, name, flags) => {
        if (flags !== 0) writeFileSync(at("a/again"), "");
        return native.unlinkat(directory, name, flags);
      },
    });
    await using filled = DirectoryHandle.adopt(root.handle.dup(), filling);
    await expect(filled.rm("a", { recursive: true })).rejects.toEqual(system("ENOTEMPTY", "unlinkat"));
    const controller = new AbortController();
    const removing = root.rm("a", { recursive: true, signal: controller.signal });
    controller.abort(new Error("keep it"));
    await expect(removing).rejects.toThrow("keep it");
    expect(existsSync(at("a"))).toBe(true);
  });

  it("removes what lies in an overlay's layers (needs root to mount)", needs("root"), async () => {
    mkdirSync(at("lower/tree", ...new Array<string>(DEPTH * 2).fill("d")), { recursive: true });
    writeFileSync(at("lower/tree/file"), "below");
    for (const name of ["upper", "work", "merged"]) mkdirSync(at(name));
    const layers = `lowerdir=${at("lower")},upperdir=${at("upper")},workdir=${at("work")}`;
    execFileSync("mount", ["-t", "overlay", "-o", layers, "overlay", at("merged")]);
    try {
      await using merged = await root.directory("merged");
      await merged.writeFile("tree/d/new", "above", { atomic: true });
      await expect(merged.rename("tree", "moved")).rejects.toEqual(system("EXDEV", "renameat2"));
      await merged.rm("tree", { recursive: true });
      expect(await merged.readdir()).toEqual([]);
    } finally {
      execFileSync("umount", [at("merged")]);
    }
    expect(readFileSync(at("lower/tree/file"), "utf8")).toBe("below");
  });

  it("leaves what is mounted in the tree alone (needs root to mount)", needs("root"), async () => {
    mkdirSync(at("a/mounted"));
    execFileSync("mount", ["--bind", join(folder.path, "outside"), at("a/mounted")]);
    try {
      await expect(root.rm("a", { recursive: true })).rejects.toEqual(system("EXDEV"));
    } finally {
      execFileSync("umount", [at("a/mounted")]);
    }
    expect(readFileSync(join(folder.path, "outside/secret"), "utf8")).toBe("secret");
  });
});

describe("names", () => {
  const entry = [".", "..", "/", "a/.", "a/..", "//", "../..", "a/../", "./"];

  it.each(entry)("%s names no entry that could be made, renamed or removed", async (path) => {
    const refused = usage("must end in the name of an entry");
    for (const call of [
      root.mkdir(path),
      root.unlink(path),
      root.rmdir(path),
      root.rm(path, { recursive: true, force: true }),
      root.rename(path, "x"),
      root.rename("other", path),
      root.symlink("x", path),
      root.writeFile(path, "x", { atomic: true }),
    ])
      await expect(call).rejects.toEqual(refused);
    expect((await root.stat(path)).isDirectory()).toBe(true);
  });

  it.each([
    ["", "empty"],
    ["a\0b", "NUL"],
    ["\ud800", "not well-formed text"],
  ])("%j is no path", async (path, why) => {
    for (const call of [root.readFile(path), root.mkdir(path), root.stat(path), root.rm(path, { force: true })])
      await expect(call).rejects.toEqual(usage(why));
    await expect(root.mkdir(path, { recursive: true })).rejects.toEqual(usage(why));
    await expect(root.symlink(path, "link")).rejects.toEqual(usage(why));
  });

  it("of 255 bytes are taken, longer ones and paths beyond PATH_MAX are ENAMETOOLONG", async () => {
    const name = "n".repeat(255);
    await root.writeFile(name, "x");
    expect(await root.readFile(name, "utf8")).toBe("x");
    await expect(root.writeFile(`${name}n`, "x")).rejects.toEqual(system("ENAMETOOLONG"));
    await expect(root.mkdir(`${name}n`)).rejects.toEqual(system("ENAMETOOLONG", "mkdirat"));
    await expect(root.mkdir("d/".repeat(2048), { recursive: true })).rejects.toEqual(system("ENAMETOOLONG"));
    await expect(root.stat("./".repeat(3000))).rejects.toEqual(system("ENAMETOOLONG"));
  });

  it("deeper than PATH_MAX are reached from a directory on the way", async () => {
    const part = `${"d".repeat(200)}/`.repeat(15);
    let current = root;
    for (let step = 0; step < 3; step++) {
      await current.mkdir(part, { recursive: true });
      const next = await current.directory(part);
      if (current !== root) current.close();
      current = next;
    }
    await current.writeFile("deep", "found");
    expect(await current.readFile("deep", "utf8")).toBe("found");
    current.close();
    await root.rm("d".repeat(200), { recursive: true });
    expect(readdirSync(at()).sort()).toEqual(["a", "other"]);
  });

  it("that are no UTF-8 are neither lost nor changed: as bytes they are listed, opened, renamed and removed", async () => {
    const odd = Buffer.from([0x61, 0x2f, 0x66, 0xff]); // a/f\xff
    await root.writeFile(odd, "odd");
    await expect(root.readdir("a")).rejects.toEqual(usage('use encoding: "buffer"'));
    const names = await root.readdir("a", { encoding: "buffer" });
    expect(names.map((name) => name.toString("latin1")).sort()).toEqual(["file", "f\xff"]);
    const entries = await root.readdir("a", { encoding: "buffer", withFileTypes: true });
    expect(entries.map(({ type }) => type)).toEqual(["file", "file"]);
    expect(await root.readFile(odd, "utf8")).toBe("odd");
    await root.rename(odd, Buffer.from([0xfe]));
    expect(await root.readFile(Buffer.from([0xfe]), "utf8")).toBe("odd");
    await root.unlink(new Uint8Array([0xfe]));
    await root.writeFile(odd, "odd");
    await root.rm("a", { recursive: true });
    expect(readdirSync(at())).toEqual(["other"]);
  });

  it("with a trailing slash are directories", async () => {
    symlinkSync("a", at("link"));
    for (const call of [root.readFile("other/"), root.stat("other/")])
      await expect(call).rejects.toEqual(system("ENOTDIR"));
    await expect(root.unlink("other/")).rejects.toEqual(system("ENOTDIR", "unlinkat"));
    await expect(root.rename("other/", "x")).rejects.toEqual(system("ENOTDIR", "renameat2"));
    await expect(root.rmdir("link/")).rejects.toEqual(system("ENOTDIR", "unlinkat"));
    await expect(root.rm("link/", { recursive: true })).rejects.toMatchObject({ code: "SYSTEM_ERROR" });
    expect(readdirSync(at()).sort()).toEqual(["a", "link", "other"]);
    expect(readdirSync(at("a"))).toEqual(["file"]);
  });
});

describe("a kernel that will not", () => {
  it("without openat2 everything says what keeps it away", async () => {
    await using none = DirectoryHandle.adopt(root.handle.dup(), scripted({ openat2: () => -ENOSYS }));
    for (const call of [none.readFile("other"), none.mkdir("x/y"), none.readdir(), none.rm("a", { recursive: true })])
      await expect(call).rejects.toMatchObject({
        code: "SYSCALL_MISSING",
        message: expect.stringContaining("allow openat2 there"),
      });
    const open = DirectoryHandle.open(at(), scripted({ openat2: () => -ENOSYS }));
    await expect(open).rejects.toMatchObject({ code: "SYSCALL_MISSING" });
  });

  it("that cannot tell where a path led is asked again, a bounded number of times", async () => {
    let refusals = 0;
    const openat2: typeof native.openat2 = (...args) => (refusals-- > 0 ? -EAGAIN : native.openat2(...args));
    await using busy = DirectoryHandle.adopt(root.handle.dup(), scripted({ openat2 }));
    refusals = ATTEMPTS - 1;
    expect(await busy.readFile("a/../other", "utf8")).toBe("other");
    refusals = ATTEMPTS;
    await expect(busy.readFile("a/../other")).rejects.toEqual(system("EAGAIN"));
  });
});

describe("the root of a tenancy", () => {
  const path = `@berthd-root-${process.pid}`;
  const reply = (kind: string): unknown => ({
    parameters: { lease: "lease", descriptors: [{ name: "root", kind, index: 0 }] },
  });

  it("is a directory handle on the descriptor of kind root, and closes with the tenancy", async () => {
    using directory = FdHandle.adopt(openSync(at(), files.O_DIRECTORY));
    using _ = new FakeService(path, (call, connection) => {
      if (String(call["method"]).endsWith("Acquire")) connection.reply(reply("root"), [directory]);
      else connection.reply({ parameters: {} });
    });
    const tenancy = await acquire("arena", { socket: path });
    expect(await tenancy.root.readFile("/a/file", "utf8")).toBe("hello");
    expect(tenancy.root).toBe(tenancy.root);
    const { root: inside } = tenancy;
    await tenancy.release();
    await expect(inside.readdir()).rejects.toMatchObject({ code: "DESCRIPTOR_CLOSED" });
  });

  it("is an error where there is none, or where it is no directory", async () => {
    using file = memfd();
    for (const kind of ["stash", "root"]) {
      using _ = new FakeService(path, (call, connection) => {
        if (String(call["method"]).endsWith("Acquire")) connection.reply(reply(kind), [file]);
        else connection.reply({ parameters: {} });
      });
      await using tenancy = await acquire("arena", { socket: path });
      const message = expect.stringContaining(kind === "root" ? "not a directory" : "arena has no root");
      expect(() => tenancy.root).toThrow(expect.objectContaining({ code: "DESCRIPTOR_MISMATCH", message }));
    }
  });
});

function fileOfPath(path: string): string {
  const { dev, ino } = statSync(path);
  return `${dev}:${ino}`;
}

/** A kernel whose directories do not say what their entries are (DT_UNKNOWN). */
function withoutTypes(): typeof native {
  return scripted({
    getdents64: (fd, records) => {
      const length = native.getdents64(fd, records);
      const view = new DataView(records.buffer, records.byteOffset);
      for (let offset = 0; offset < length; offset += view.getUint16(offset + 16, true)) records[offset + 18] = 0;
      return length;
    },
  });
}
