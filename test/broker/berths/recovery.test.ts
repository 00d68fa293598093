import { constants } from "node:os";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Recovery } from "../../../src/broker/berths/recovery.ts";
import { InterfaceWatch } from "../../../src/broker/sockets/interfaces/interface-watch.ts";
import type { SocketFailure } from "../../../src/broker/sockets/socket-failure.ts";
import { native } from "../../../src/native.ts";
import { berth as configured, socket } from "../../config/fixture.ts";
import { leaksNothing } from "../../support/fds.ts";
import { lastPoll, scripted } from "../../support/scripted-native.ts";

leaksNothing();
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const failure = (cure: SocketFailure["cure"]): SocketFailure => ({
  berth: "a",
  problem: { file: "a.toml", line: 2, message: "busy", remedy: "stop it" },
  cure,
});

/** One berth that fails until `end` is called, and the seconds at which it was tried. */
function world(cure: SocketFailure["cure"], sys = scripted()) {
  const berth = new Berth(configured({ "etc/a.toml": socket }), []);
  const failures = new Map<Berth, readonly SocketFailure[]>([[berth, [failure(cure)]]]);
  const tries: number[] = [];
  const start = Date.now();
  const onCured = vi.fn();
  const state = { isPaused: false };
  const recovery = new Recovery({
    berths: {
      failures,
      recover: (one) => {
        tries.push((Date.now() - start) / 1000);
        return failures.get(one) ?? [];
      },
    },
    sys,
    isPaused: () => state.isPaused,
    onCured,
  });
  recovery.update();
  return { recovery, tries, onCured, state, end: () => failures.delete(berth) };
}

it("tries a busy port again after 1 s, twice as long after each failure, up to a minute", () => {
  const { recovery, tries, onCured, end } = world("time");
  vi.advanceTimersByTime(200_000);
  expect(tries).toEqual([1, 3, 7, 15, 31, 63, 123, 183]);
  expect(onCured).not.toHaveBeenCalled();
  end();
  vi.advanceTimersByTime(60_000);
  expect(onCured).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1_000_000);
  expect(tries).toHaveLength(9);
  recovery.close();
});

it("never tries what only another configuration ends", () => {
  const { recovery, tries } = world(undefined);
  vi.advanceTimersByTime(1_000_000);
  expect(tries).toEqual([]);
  recovery.close();
});

it("tries nothing while another broker takes over", () => {
  const { recovery, tries, state } = world("time");
  state.isPaused = true;
  vi.advanceTimersByTime(10_000);
  expect(tries).toEqual([]);
  state.isPaused = false;
  vi.advanceTimersByTime(1000);
  expect(tries).toEqual([11]);
  recovery.close();
});

it("tries an absent address at once when the kernel tells of a new one", () => {
  const { recovery, tries, onCured, end } = world("network");
  vi.advanceTimersByTime(20_000);
  expect(tries).toEqual([1, 3, 7, 15]);
  lastPoll().fire(1);
  vi.advanceTimersByTime(1);
  expect(tries).toEqual([1, 3, 7, 15, 20]);
  expect(onCured).not.toHaveBeenCalled();
  end();
  recovery.update();
  expect(lastPoll().closed).toBe(true);
  recovery.close();
});

it("tries an absent address every five seconds where the kernel tells nothing", () => {
  const { recovery, tries } = world("network", scripted({ socket: () => -constants.errno.EAFNOSUPPORT }));
  vi.advanceTimersByTime(20_000);
  expect(tries).toEqual([1, 3, 7, 12, 17]);
  recovery.close();
});

it("hears of changed interfaces by netlink, and closes its socket", () => {
  using watch = InterfaceWatch.open(native, () => undefined);
  expect(watch).toBeDefined();
  expect(InterfaceWatch.open(scripted({ bind: () => -constants.errno.EPERM }), () => undefined)).toBeUndefined();
});
