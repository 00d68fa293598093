/** Whether a server is started as a unit or as a child, and what is told of it. */
import { closeSync, openSync } from "node:fs";
import { expect, it } from "vitest";
import { createRunner, type RunResult } from "../../../src/broker/demand/runner.ts";
import type { Manager, ServiceEnd, ServiceState, StartResult } from "../../../src/systemd/manager.ts";
import { needs } from "../../support/needs.ts";

/** A manager that does nothing but answer. */
function manager(
  start: StartResult,
  end: ServiceEnd | undefined,
  calls: string[] = [],
  state: ServiceState = { isActive: true, pid: 7 },
): Manager {
  return {
    start: (unit, told) => {
      calls.push(`start ${unit}`);
      setImmediate(() => told(start));
    },
    stop: (unit) => void calls.push(`stop ${unit}`),
    end: (unit, told) => {
      calls.push(`end ${unit}`);
      setImmediate(() => told({ kind: "stopped" }));
    },
    state: (_, told) => setImmediate(() => told(state)),
    ended: (_, told) => setImmediate(() => told(end)),
  };
}

/** The outcome of a start of the berth `arena@bob`, whose launcher finds no broker. */
async function outcomeOf(given: Manager): Promise<RunResult> {
  const output = openSync("/dev/null", "w");
  const runner = createRunner({ socket: "/nowhere", output, manager: given });
  try {
    return await new Promise((resolve) => {
      const run = runner.start("arena@bob", resolve);
      setImmediate(() => setImmediate(() => run.inquire()));
    });
  } finally {
    closeSync(output);
  }
}

it("a unit that there is not is no failure: the launcher is run instead", async () => {
  expect(await outcomeOf(manager({ kind: "absent" }, undefined))).toEqual({
    reason: expect.stringMatching(/^cannot (?:reach|connect to) .*\/nowhere/),
    status: 111,
  });
});

it("of a unit that failed to start, its own end says more than systemctl", async () => {
  const failed = { kind: "failed", reason: "Job failed. See more." } as const;
  const end = { reason: "it was ended by SIGSEGV", signal: "SIGSEGV" };
  expect(await outcomeOf(manager(failed, end))).toEqual(end);
  expect(await outcomeOf(manager(failed, { reason: "systemd says: start-limit-hit" }))).toMatchObject({
    reason: "Job failed. See more.",
  });
});

it("a unit that has started is asked how it ended", async () => {
  const end = { reason: "it ended with status 3", status: 3 };
  expect(await outcomeOf(manager({ kind: "started" }, end))).toEqual(end);
});

it("stops the unit of that berth, and no other", () => {
  const calls: string[] = [];
  const never = (): void => expect.unreachable();
  const runner = createRunner({
    socket: "/nowhere",
    output: 2,
    manager: manager({ kind: "started" }, undefined, calls),
  });
  expect(runner.stop("arena@bob", "berth@arena@bob.service", never)).toBe(true);
  expect(runner.stop("arena@bob", "berth@arena.service", never)).toBe(false);
  expect(runner.stop("arena@bob", "user@1000.service", never)).toBe(false);
  expect(runner.stop("arena@bob", undefined, never)).toBe(false);
  expect(calls).toEqual(["stop berth@arena@bob.service"]);
});

it.each([
  ["the berth's own unit", 7, "berth@arena@bob.service", "berth@arena@bob.service"],
  ["whatever its main process is", 8, "berth@arena@bob.service", "berth@arena@bob.service"],
  ["that of its container", 8, "container@arena@bob.service", "container@arena@bob.service"],
  ["another service whose main process is the tenant", 7, "game.service", "game.service"],
  ["no service with another main process", 8, "ssh.service", undefined],
  ["no session", 7, "session-1.scope", undefined],
  ["no unit", 7, undefined, undefined],
])("ends with all its processes: %s", needs("root"), async (_, pid, unit, expected) => {
  const calls: string[] = [];
  const runner = createRunner({
    socket: "/nowhere",
    output: 2,
    manager: manager({ kind: "started" }, undefined, calls),
  });
  const done = await runner.end("arena@bob", { pid, unit });
  expect(done).toEqual(expected === undefined ? { kind: "none" } : { kind: "stopped", unit: expected });
  expect(calls).toEqual(expected === undefined ? [] : [`end ${expected}`]);
});

it.each([
  [true, { kind: "stopped", unit: "berth@arena@bob.service" }],
  [false, { kind: "none" }],
])("without a tenant, ends the berth's own unit if that is active: %s", async (isActive, expected) => {
  const given = manager({ kind: "started" }, undefined, [], { isActive, pid: 0 });
  expect(await createRunner({ socket: "/nowhere", output: 2, manager: given }).end("arena@bob", undefined)).toEqual(
    expected,
  );
});
