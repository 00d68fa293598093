/** The countdown of a drain: when a server is told again, and in which words. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { announce, announceAgain } from "../../../src/broker/drain/announce.ts";
import { nextMark } from "../../../src/broker/drain/countdown.ts";
import { Drain } from "../../../src/broker/drain/drain.ts";
import { DEFAULT_DRAIN_LIMITS } from "../../../src/broker/drain/drain-step.ts";
import { bootTime } from "../../../src/broker/record/boot-time.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { withTime } from "../../../src/time-left.ts";
import { socket, berth as specOf } from "../../config/fixture.ts";
import { noDoorman } from "../../support/doorman/no-doorman.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing();
afterEach(() => {
  vi.useRealTimers();
});

const SECOND = 1000;
const MINUTE = 60 * SECOND;

describe("the next mark", () => {
  it("is the next of those that are left, and none just after the server was told", () => {
    const marks: number[] = [];
    for (let left: number | undefined = 3 * 60 * MINUTE; left !== undefined; left = nextMark(left)) marks.push(left);
    expect(marks.slice(1).map((mark) => mark / SECOND)).toEqual([1800, 900, 600, 300, 120, 60, 30, 10]);
    expect(nextMark(10 * SECOND)).toBeUndefined();
    expect(nextMark(10 * SECOND + 400)).toBeUndefined();
    expect(nextMark(11 * SECOND)).toBe(10 * SECOND);
    expect(nextMark(-1)).toBeUndefined();
  });
});

describe("the line", () => {
  it.each([
    [undefined, "once nobody plays"],
    [-5, "in 1 second"],
    [400, "in 1 second"],
    [9_990, "in 10 seconds"],
    [60 * SECOND, "in 1 minute"],
    [90 * SECOND, "in 90 seconds"],
    [2 * MINUTE, "in 2 minutes"],
    [30 * MINUTE - 3, "in 30 minutes"],
    [60 * MINUTE, "in 1 hour"],
    [90 * MINUTE, "in 90 minutes"],
    [168 * 60 * MINUTE, "in 168 hours"],
  ])("with %j ms left says %s", (left, words) => {
    expect(withTime("say Restart {when}, {when}!", left)).toBe(`say Restart ${words}, ${words}!`);
    expect(withTime("say $& soon", left)).toBe("say $& soon");
  });
});

const server = (command: string): string => `user = "games"\nconsole = true\ndrain-command = "${command}"\n`;

it("a command that would be longer than a terminal takes, once it says when, is refused", () => {
  expect(() => specOf({ "etc/a.toml": `${socket}\n[server]\n${server("{when}".repeat(240))}` })).not.toThrow();
  expect(() => specOf({ "etc/a.toml": `${socket}\n[server]\n${server("{when}".repeat(241))}` })).toThrow(
    /not one line/,
  );
});

interface Scene extends Disposable {
  readonly drain: Drain;
  readonly typed: readonly string[];
}

/** A drain whose deadline is in so many milliseconds. Nobody leaves: its server says that one plays. */
function drainIn(left: number | undefined, command: string): Scene {
  const spec = specOf({ "etc/a.toml": `${socket}\n[server]\n${server(command)}` });
  const pidfd = FdHandle.adopt(check("pidfd_open", native.pidfdOpen(process.pid)));
  const lease = new Lease(
    { pid: process.pid, uid: 0, unit: undefined },
    TenantProcess.watch(pidfd, native),
    () => undefined,
  );
  const berth = new Berth(spec, []);
  const typed: string[] = [];
  const told = {
    consoles: { pathOf: () => "/console" },
    typist: { type: (_: unknown, __: string, line: string) => void typed.push(line) },
    log: () => undefined,
  };
  const facts = (ms: number | undefined) => {
    const deadline = ms === undefined ? undefined : bootTime() + ms;
    return { began: Date.now() * 1000, deadline, uid: 0, privileged: true };
  };
  const first = facts(left);
  const drain = new Drain(berth, lease, first, {
    sys: native,
    ...told,
    stops: { end: () => new Promise(() => undefined) },
    connections: { refresh: (then) => then(), to: () => true },
    inquiries: noDoorman,
    limits: DEFAULT_DRAIN_LIMITS,
    isPaused: () => false,
    onFailed: () => undefined,
    onMark: (now) => announceAgain(berth, lease, now, told),
  });
  announce(berth, lease, first, told);
  const dispose = (): void => {
    drain.close();
    lease.end();
  };
  return { drain, typed, [Symbol.dispose]: dispose };
}

describe("a drain", () => {
  it("has the command typed at each mark, and nothing more once it is closed", () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "hrtime"] });
    using test = drainIn(2 * MINUTE, "say Restart {when}");
    vi.advanceTimersByTime(95 * SECOND);
    const first = ["say Restart in 2 minutes", "say Restart in 1 minute", "say Restart in 30 seconds"];
    expect(test.typed).toEqual(first);
    vi.advanceTimersByTime(16 * SECOND);
    expect(test.typed).toEqual([...first, "say Restart in 10 seconds"]);
    test.drain.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("goes by a new deadline, and by none while there is none", () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "hrtime"] });
    using test = drainIn(undefined, "say {when}");
    vi.advanceTimersByTime(60 * MINUTE);
    expect(test.typed).toEqual(["say once nobody plays"]);
    const deadline = bootTime() + 40 * SECOND;
    test.drain.change({ began: 1, deadline, uid: 0, privileged: true });
    vi.advanceTimersByTime(11 * SECOND);
    expect(test.typed).toEqual(["say once nobody plays", "say in 30 seconds"]);
  });

  it("has a command without {when} typed once", () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "hrtime"] });
    using test = drainIn(2 * MINUTE, "say Restart soon");
    vi.advanceTimersByTime(115 * SECOND);
    expect(test.typed).toEqual(["say Restart soon"]);
  });
});
