import { closeSync, openSync } from "node:fs";
import { expect, it } from "vitest";
import { closeAll, FdHandle } from "../src/fd.ts";
import { native } from "../src/native.ts";
import { leaksNothing } from "./support/fds.ts";
import { fileOf } from "./support/sockets.ts";

leaksNothing();

const closed = { code: "DESCRIPTOR_CLOSED" };

it("adopt takes a descriptor, close closes it, and closing again does not close its successor", () => {
  const handle = FdHandle.adopt(openSync("/dev/null", "r"));
  const { fd } = handle;
  expect(handle.open).toBe(true);
  handle.close();
  const successor = openSync("/dev/null", "r");
  expect(successor).toBe(fd);
  handle.close();
  handle[Symbol.dispose]();
  expect(native.getfd(successor)).toBe(1);
  closeSync(successor);
});

it("every use after close throws DESCRIPTOR_CLOSED", () => {
  const handle = FdHandle.adopt(openSync("/dev/null", "r"));
  handle.close();
  expect(handle.open).toBe(false);
  expect(() => handle.fd).toThrow(expect.objectContaining(closed));
  expect(() => handle.dup()).toThrow(expect.objectContaining(closed));
  expect(() => handle.steal()).toThrow(expect.objectContaining(closed));
});

it("dup is independent of its original", () => {
  const handle = FdHandle.adopt(openSync("/dev/null", "r"));
  const twin = handle.dup();
  const file = fileOf(handle);
  handle.close();
  expect(fileOf(twin)).toBe(file);
  twin.close();
});

it("steal gives the descriptor away: closing the handle leaves it open", () => {
  const handle = FdHandle.adopt(openSync("/dev/null", "r"));
  const fd = handle.steal();
  handle.close();
  expect(handle.open).toBe(false);
  expect(native.getfd(fd)).toBe(1);
  closeSync(fd);
});

it("dup of a descriptor that somebody else has closed says EBADF, and makes nothing", () => {
  const handle = FdHandle.adopt(openSync("/dev/null", "r"));
  closeSync(handle.fd);
  expect(() => handle.dup()).toThrow(expect.objectContaining({ code: "SYSTEM_ERROR", errnoName: "EBADF" }));
  expect(() => handle.close()).not.toThrow();
});

it("0 is a descriptor like any other", () => {
  const closes: number[] = [];
  const handle = FdHandle.adopt(0, {
    ...native,
    close: (fd) => {
      closes.push(fd);
      return 0;
    },
  });
  expect([handle.open, handle.fd]).toEqual([true, 0]);
  handle.close();
  expect([handle.open, closes]).toEqual([false, [0]]);
});

it.each([-1, 1.5, Number.NaN])("adopt refuses %s", (fd) => {
  expect(() => FdHandle.adopt(fd)).toThrow(expect.objectContaining(closed));
});

it("using and closeAll close", () => {
  const handles = [1, 2, 3].map(() => FdHandle.adopt(openSync("/dev/null", "r")));
  closeAll(handles);
  expect(handles.map(({ open }) => open)).toEqual([false, false, false]);
  const seen: FdHandle[] = [];
  {
    using handle = FdHandle.adopt(openSync("/dev/null", "r"));
    seen.push(handle);
    expect(handle.open).toBe(true);
  }
  expect(seen[0]?.open).toBe(false);
});
