/** What needs no process under a filter; the rest of Interceptor is tried in test/bind. */
import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { native } from "../../src/native.ts";
import { expectFdsAgain, openFds } from "../support/fds.ts";

const nothing = (): void => undefined;

describe("an Interceptor", () => {
  it("refuses arguments of the wrong type", () => {
    for (const [notify, report, record] of [
      ["3", nothing, -1],
      [Number.NaN, nothing, -1],
      [undefined, nothing, -1],
      [-1, undefined, -1],
      [-1, {}, -1],
      [-1, nothing, undefined],
      [-1, nothing, "3"],
    ]) {
      expect(() => Reflect.construct(native.Interceptor, [notify, report, record])).toThrow(TypeError);
    }
  });

  it("foresees nothing of the wrong type, and nothing before it starts", () => {
    const interceptor = new native.Interceptor(-1, nothing, -1);
    const good: readonly unknown[] = [1, 0, new Uint8Array(16), 0, new Uint8Array(4), 2, 2, new Int32Array(4), 0, 1];
    for (const at of good.keys()) {
      const bad = good.map((value, index) => (index === at ? "3" : value));
      expect(() => Reflect.apply(interceptor.foresee, interceptor, bad)).toThrow(TypeError);
    }
    Reflect.apply(interceptor.foresee, interceptor, good);
    interceptor.forget();
    expect(interceptor.delivered()).toEqual(new Int32Array());
    expect(interceptor.changing()).toBe(false);
    interceptor.close();
  });

  it("asks nothing of the wrong type", () => {
    const interceptor = new native.Interceptor(-1, nothing, -1);
    const good: readonly unknown[] = [1, 2, 2, new Uint8Array(4)];
    for (const at of good.keys()) {
      const bad = good.map((value, index) => (index === at ? "3" : value));
      expect(() => Reflect.apply(interceptor.inquire, interceptor, bad)).toThrow(TypeError);
    }
    expect(Reflect.apply(interceptor.inquire, interceptor, good)).toBeUndefined();
    interceptor.close();
  });

  it("does not start without a descriptor", () => {
    const interceptor = new native.Interceptor(-1, nothing, -1);
    expect(interceptor.start()).toBe(-constants.errno.EBADF);
    interceptor.close();
  });

  it("owns its descriptor from the first instant, and may be closed twice", async () => {
    const before = openFds();
    const unused = new native.Interceptor(native.memfd("x"), nothing, native.memfd("y"));
    unused.close();
    unused.close();
    expect(unused.start()).toBe(-constants.errno.EBADF);
    await expectFdsAgain(before);
  });

  it("ends by itself, and says so, on a descriptor that reports nothing", async () => {
    const before = openFds();
    let interceptor: InstanceType<typeof native.Interceptor> | undefined;
    const last = await new Promise((resolve) => {
      const pair = new Int32Array(2);
      native.socketpair(1, 1, pair);
      native.close(pair[0] ?? -1); // POLLHUP: as when the last process with the filter is gone
      interceptor = new native.Interceptor(pair[1] ?? -1, resolve, native.memfd("record"));
      expect(interceptor.start()).toBe(0);
      // A thread alone keeps no process alive; this test waits for it.
      const waiting = setInterval(nothing, 5);
      setTimeout(() => clearInterval(waiting), 5000).unref();
    });
    expect(last).toBeNull();
    // Not before it is closed: until then its descriptors are open.
    expect(interceptor?.ended()).toBe(false);
    interceptor?.close();
    await expect.poll(() => interceptor?.ended()).toBe(true);
    expect(openFds()).toEqual(before);
  });
});
