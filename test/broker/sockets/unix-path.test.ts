import { chmodSync, linkSync, lstatSync, statSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isInode, setPathAccess } from "../../../src/broker/sockets/unix-path.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../../src/net/address.ts";
import { SOCK_STREAM } from "../../../src/net/transport.ts";
import { TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, settledFds } from "../../support/fds.ts";

const options = { backlog: 1, v6only: true, mode: 0o660 };

function bound(path: string): FdHandle {
  const socket = FdHandle.adopt(native.socket(AF_UNIX, SOCK_STREAM, 0));
  native.bind(socket.fd, encodeSockaddr({ family: "unix", path, abstract: false }));
  return socket;
}

describe("the path of a UNIX socket", () => {
  it("gets its mode, and its inode is returned", async () => {
    const before = await settledFds();
    using folder = new TestFolder();
    const path = join(folder.path, "s");
    bound(path).close();
    const inode = setPathAccess(path, options);
    expect(lstatSync(path).mode & 0o7777).toBe(0o660);
    expect(isInode(path, inode)).toBe(true);
    await expectFdsAgain(before);
  });

  it.each([
    ["a symbolic link to a file", (path: string, file: string) => symlinkSync(file, path)],
    ["a hard link to a file", (path: string, file: string) => linkSync(file, path)],
    ["a symbolic link to another socket", (path: string, file: string) => symlinkSync(`${file}.sock`, path)],
  ])("that somebody replaced by %s changes nothing of what it leads to", async (_, replace) => {
    const before = await settledFds();
    using folder = new TestFolder();
    const path = join(folder.path, "s");
    const file = join(folder.path, "shadow");
    writeFileSync(file, "secret");
    chmodSync(file, 0o600);
    bound(`${file}.sock`).close();
    chmodSync(`${file}.sock`, 0o600);
    bound(path).close();
    const inode = lstatSync(path, { bigint: true }).ino;
    unlinkSync(path);
    replace(path, file);
    expect(() => setPathAccess(path, options)).toThrow(/another process replaced it/);
    expect(() => setPathAccess(path, options, inode)).toThrow(/another process replaced it/);
    expect([file, `${file}.sock`].map((name) => statSync(name).mode & 0o7777)).toEqual([0o600, 0o600]);
    await expectFdsAgain(before);
  });

  it("that was removed is an error, and is no longer that inode", () => {
    using folder = new TestFolder();
    expect(() => setPathAccess(join(folder.path, "s"), options)).toThrow(/ENOENT/);
    expect(isInode(join(folder.path, "s"), 1n)).toBe(false);
  });
});
