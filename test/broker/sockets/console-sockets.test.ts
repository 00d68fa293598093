/** The folder of consoles, where somebody else may have made it first. */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConsoleSockets } from "../../../src/broker/sockets/control/console-sockets.ts";
import { native } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";

const lease = "0123456789abcdef";
const other = "fedcba9876543210";

let folder: TestFolder;
beforeEach(() => {
  folder = new TestFolder();
});
afterEach(() => folder[Symbol.dispose]());

const consoles = (): ConsoleSockets => new ConsoleSockets(join(folder.path, "b.sock"), native);
const path = (): string => join(folder.path, "b.sock.console");
const open = (id: string): void =>
  consoles()
    .open(id, process.geteuid?.() ?? 0)
    .close();

it("a link in its place: nothing is removed where it leads, and no console is made there", () => {
  folder.write({ [`etc/${lease}`]: "", "etc/passwd": "" });
  symlinkSync(join(folder.path, "etc"), path());
  consoles().retain(() => false);
  expect(() => open(other)).toThrow(
    `cannot open a console in ${path()}: it is no folder; remove it, or start berthd with --socket in a folder of its own`,
  );
  expect(readdirSync(join(folder.path, "etc"))).toEqual([lease, "passwd"]);
});

it("a folder of another user has no console", needs("root"), () => {
  mkdirSync(path());
  chownSync(path(), 65534, 65534);
  expect(() => open(lease)).toThrow(`cannot open a console in ${path()}: it is uid 65534's; remove it, or`);
  expect(readdirSync(path())).toEqual([]);
});

it("a folder to which others may write has no console", () => {
  mkdirSync(path());
  chmodSync(path(), 0o777);
  expect(() => open(lease)).toThrow(`cannot open a console in ${path()}: others may write to it; remove it, or`);
  expect(readdirSync(path())).toEqual([]);
});

it("of an earlier broker's folder, only sockets with the name of a lease go", () => {
  for (const id of [lease, other]) open(id);
  for (const name of ["notes", "00112233445566ff"]) writeFileSync(join(path(), name), "");
  consoles().retain((id) => id === other);
  expect(readdirSync(path()).sort()).toEqual(["00112233445566ff", other, "notes"]);
  expect(existsSync(join(path(), lease))).toBe(false);
});
