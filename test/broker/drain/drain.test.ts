/** A drain that is closed while its server is being stopped: the broker hands over, or the drain was cancelled. */
import { constants } from "node:os";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { Drain, type DrainOptions } from "../../../src/broker/drain/drain.ts";
import { DEFAULT_DRAIN_LIMITS } from "../../../src/broker/drain/drain-step.ts";
import { bootTime } from "../../../src/broker/record/boot-time.ts";
import { check, SysError } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { socket, berth as specOf } from "../../config/fixture.ts";
import { noDoorman } from "../../support/doorman/no-doorman.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

type End = Awaited<ReturnType<DrainOptions["stops"]["end"]>>;

/** A drain whose deadline has come: `answer` says how the stop that it has begun ends. */
async function stopping(onFailed: () => void) {
  const pidfd = FdHandle.adopt(check("pidfd_open", native.pidfdOpen(process.pid)));
  const lease = new Lease(
    { pid: process.pid, uid: 0, unit: undefined },
    TenantProcess.watch(pidfd, native),
    () => undefined,
  );
  const berth = new Berth(specOf({ "etc/a.toml": socket }), []);
  const end = vi.fn((): Promise<End> => new Promise((resolve, reject) => ends.push({ resolve, reject })));
  const ends: { resolve(end: End): void; reject(error: unknown): void }[] = [];
  const facts = { began: Date.now() * 1000, deadline: bootTime(), uid: 0, privileged: true };
  const drain = new Drain(berth, lease, facts, {
    sys: native,
    log: () => undefined,
    stops: { end },
    connections: { refresh: (then) => then(), to: () => false },
    inquiries: noDoorman,
    limits: DEFAULT_DRAIN_LIMITS,
    isPaused: () => false,
    onFailed,
    onMark: () => undefined,
  });
  await vi.advanceTimersByTimeAsync(1);
  const [answer] = ends;
  if (answer === undefined) throw new Error("nothing was stopped");
  const dispose = (): void => {
    drain.close();
    lease.end();
  };
  return { drain, end, answer, [Symbol.dispose]: dispose };
}

const failed: End = { kind: "not-stopped", berth: "a", message: "its unit stays" };
const scarce = new SysError("pidfd_open", constants.errno.EMFILE);

it("is over when its server cannot be stopped", async () => {
  const onFailed = vi.fn();
  using test = await stopping(onFailed);
  test.answer.resolve(failed);
  await vi.advanceTimersByTimeAsync(5000);
  expect(onFailed).toHaveBeenCalledOnce();
  expect(test.end).toHaveBeenCalledOnce();
});

it("tries again where the broker has no descriptor left", async () => {
  const onFailed = vi.fn();
  using test = await stopping(onFailed);
  test.answer.reject(scarce);
  await vi.advanceTimersByTimeAsync(5000);
  expect(onFailed).not.toHaveBeenCalled();
  expect(test.end).toHaveBeenCalledTimes(2);
});

it.each([
  ["cannot be stopped", (answer: { resolve(end: End): void }) => answer.resolve(failed)],
  ["has no descriptor left", (answer: { reject(error: unknown): void }) => answer.reject(scarce)],
])("closed meanwhile, does not touch the lease nor try again: %s", async (_, finish) => {
  const onFailed = vi.fn();
  using test = await stopping(onFailed);
  test.drain.close();
  finish(test.answer);
  await vi.advanceTimersByTimeAsync(5000);
  expect(onFailed).not.toHaveBeenCalled();
  expect(test.end).toHaveBeenCalledOnce();
  expect(vi.getTimerCount()).toBe(0);
});
