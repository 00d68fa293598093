/** systemctl(1) as a manager: what it says of starts that come to nothing, and of services that have ended. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createManager, readEnd, readState, type StartResult, type StopResult } from "../../src/systemd/manager.ts";
import { TestFolder } from "../support/broker.ts";

describe("a service that systemctl shows", () => {
  const text = (active: string, sub: string, result: string, code: number, status: number): string =>
    `Result=${result}\nExecMainCode=${code}\nExecMainStatus=${status}\nActiveState=${active}\nSubState=${sub}\n`;

  it("is told in the launcher's words, and not in those of its server", () => {
    const ended = text("failed", "failed", "exit-code", 1, 111);
    const reason = "cannot run /usr/games/x: No such file or directory";
    expect(readEnd(`${ended}StatusText=berth-launch: ${reason}\n`)).toEqual({ reason, status: 111 });
    expect(readEnd(`${ended}StatusText=map dm6, 3 players\n`)).toMatchObject({ reason: "it ended with status 111" });
  });

  it.each([
    [text("active", "running", "success", 0, 0), undefined],
    [text("deactivating", "stop-sigterm", "success", 0, 0), undefined],
    [text("activating", "start", "success", 0, 0), undefined],
    [text("failed", "failed", "exit-code", 1, 3), { reason: "it ended with status 3", status: 3 }],
    [text("activating", "auto-restart", "exit-code", 1, 111), { reason: "it ended with status 111", status: 111 }],
    [text("inactive", "dead", "success", 1, 0), { reason: "it ended with status 0", status: 0 }],
    [text("failed", "failed", "core-dump", 3, 11), { reason: "it was ended by SIGSEGV", signal: "SIGSEGV" }],
    [text("failed", "failed", "oom-kill", 2, 9), { reason: "it was ended by SIGKILL", signal: "SIGKILL" }],
    [text("failed", "failed", "resources", 0, 0), { reason: "systemd says: resources" }],
  ])("%j", (shown, expected) => {
    expect(readEnd(shown)).toEqual(expected);
  });
});

describe("a start", () => {
  const start = async (script: string): Promise<StartResult> => {
    using folder = new TestFolder({ systemctl: `#!/bin/sh\n${script}\n` });
    const program = join(folder.path, "systemctl");
    chmodSync(program, 0o755);
    return await new Promise((resolve) => createManager(program).start("berth@arena.service", resolve));
  };

  it.each<[string, StartResult]>([
    ['test "$*" = "start --no-ask-password -- berth@arena.service"', { kind: "started" }],
    ["echo Unit berth@arena.service not found. >&2; exit 5", { kind: "absent" }],
    ["echo No room. >&2; echo See this. >&2; exit 1", { kind: "failed", reason: "No room." }],
  ])("%s", async (script, expected) => {
    expect(await start(script)).toEqual(expected);
  });

  it("that cannot be undone is reported", async () => {
    const reason = await new Promise((resolve) => createManager("/nowhere/systemctl").stop("x", resolve));
    expect(reason).toContain("ENOENT");
  });

  it("without a systemctl", async () => {
    const result = await new Promise<StartResult>((resolve) => createManager("/nowhere/systemctl").start("x", resolve));
    expect(result).toMatchObject({ kind: "failed", reason: expect.stringContaining("ENOENT") });
  });
});

describe("a stop that is waited for", () => {
  const stop = async (script: string, timeout: number): Promise<StopResult> => {
    using folder = new TestFolder({ systemctl: `#!/bin/sh\n${script}\n` });
    const program = join(folder.path, "systemctl");
    chmodSync(program, 0o755);
    const manager = createManager(program, { before: ["--user"], timeout });
    return await new Promise((resolve) => manager.end("berth@arena.service", resolve));
  };

  it.each<[string, StopResult, number]>([
    ['test "$*" = "--user stop --no-ask-password -- berth@arena.service"', { kind: "stopped" }, 60_000],
    ["echo Access denied. >&2; exit 4", { kind: "refused", reason: "Access denied." }, 60_000],
    ["exec sleep 1000", { kind: "late" }, 200],
  ])("%s", async (script, expected, timeout) => {
    expect(await stop(script, timeout)).toEqual(expected);
  });
});

it.each([
  ["ActiveState=active\nMainPID=12\n", { isActive: true, pid: 12 }],
  ["MainPID=0\nActiveState=activating\n", { isActive: true, pid: 0 }],
  ["MainPID=0\nActiveState=failed\n", { isActive: false, pid: 0 }],
  ["MainPID=0\nActiveState=inactive\n", { isActive: false, pid: 0 }],
  ["", { isActive: false, pid: 0 }],
])("a service that systemctl shows as %j is active or not, and has a main process", (shown, expected) => {
  expect(readState(shown)).toEqual(expected);
});
