import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { abortError, BerthError, check, errnoName, RefusedError, SysError } from "../src/errors.ts";

it("a SysError says the call, what it was on, and the errno's name", () => {
  const error = new SysError("bind", 98, "tcp://0.0.0.0:77");
  expect(error).toMatchObject({
    code: "SYSTEM_ERROR",
    syscall: "bind",
    errno: 98,
    errnoName: "EADDRINUSE",
    path: "tcp://0.0.0.0:77",
  });
  expect(error.message).toBe("bind tcp://0.0.0.0:77: EADDRINUSE");
  expect(error).toBeInstanceOf(BerthError);
  expect(new SysError("close", 4095).message).toBe("close: errno 4095");
  expect(errnoName(11)).toBe("EAGAIN");
});

it("check passes results on, 0 included, and throws for -errno", () => {
  expect([check("dup", 0), check("dup", 7)]).toEqual([0, 7]);
  expect(() => check("dup", -9)).toThrow("dup: EBADF");
});

it("a RefusedError says the broker's own sentence, else the error and its parameters", () => {
  expect(new RefusedError("a.b.No", { message: "not today" }).message).toBe("not today");
  expect(new RefusedError("a.b.No", { x: 1 }).message).toBe('a.b.No {"x":1}');
});

it("an abort's error is the signal's reason when that is an error, else ABORTED with it as the cause", () => {
  const reason = new Error("mine");
  expect(abortError(AbortSignal.abort(reason))).toBe(reason);
  expect(abortError(AbortSignal.abort("text"))).toMatchObject({ code: "ABORTED", cause: "text" });
});

it("every code has its section in docs/errors.md, and there is none for another", () => {
  const source = readFileSync(new URL("../src/errors.ts", import.meta.url), "utf8");
  const codes = [...source.slice(0, source.indexOf("export class")).matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map(
    ([, code]) => code,
  );
  const docs = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
  const documented = [...docs.matchAll(/^#+ `?([A-Z]+(?:_[A-Z]+)*)`?$/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(10);
  expect(documented.filter((code) => code !== undefined && /^[A-Z_]{4,}$/.test(code)).sort()).toEqual(codes.sort());
});
