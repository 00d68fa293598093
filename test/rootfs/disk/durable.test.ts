import { constants } from "node:os";
import { expect, it } from "vitest";
import { SysError } from "../../../src/errors.ts";
import { system } from "../../../src/rootfs/disk/durable.ts";

it("a read-only state or socket folder gives a sentence that says what to do, not a stack", () => {
  const refuse = (): never => {
    const facts = { errno: -constants.errno.EROFS, code: "EROFS", syscall: "mkdir", path: "/srv/state" };
    throw Object.assign(new Error("EROFS: read-only file system, mkdir '/srv/state'"), facts);
  };
  expect(() => system("/srv", refuse)).toThrow(SysError);
  expect(() => system("/srv", refuse)).toThrow(
    "mkdir /srv/state: EROFS; its file system is read-only: mount it writable, name it in ReadWritePaths= of the unit",
  );
});
