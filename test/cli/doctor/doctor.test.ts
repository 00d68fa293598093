/** `berth doctor` on this machine. What it says of systemd: test/systemd/boot/doctor.test.ts. */
import { release } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Finding } from "../../../src/cli/doctor/finding.ts";
import { spawnBroker, TestFolder } from "../../support/broker.ts";
import { isRoot } from "../../support/needs.ts";
import { berth, berths } from "../support.ts";

interface Report {
  readonly problems: number;
  readonly findings: readonly Finding[];
}

async function examine(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Report & { code: number | null }> {
  const { code, stdout, stderr } = await berth(["doctor", "--json", ...args], env);
  expect(stderr).toBe("");
  return { ...(JSON.parse(stdout) as Report), code };
}

const named = ({ findings }: Report, check: string): Finding | undefined => findings.find((one) => one.check === check);

describe("berth doctor", () => {
  test("finds the broker that answers, its version, and the berths", async () => {
    await using broker = await spawnBroker(berths);
    const config = join(broker.folder.path, "config");
    const report = await examine(["--config", config], { BERTHD_SOCKET: broker.socket });
    expect(named(report, "broker")).toMatchObject({
      level: "fine",
      message: expect.stringMatching(/^the broker answers, version \d/),
    });
    expect(named(report, "configuration")).toMatchObject({ level: "fine", message: "3 berths without a problem" });
    expect(named(report, "kernel")?.message).toContain(release());
    expect(report.problems).toBe(report.findings.filter(({ level }) => level === "problem").length);
    expect(report.code).toBe(report.problems === 0 ? 0 : 1);
  });

  test("says why no broker answers, and exits with 1", async () => {
    using folder = new TestFolder({ "oops.toml": "[sockets" });
    const report = await examine(["--config", folder.path], { BERTHD_SOCKET: "/nonexistent/broker" });
    expect(report.code).toBe(1);
    expect(named(report, "broker")).toMatchObject({
      level: "problem",
      message: expect.stringContaining("cannot reach a broker at /nonexistent/broker"),
      remedy: expect.stringMatching(/^berthd &$|^systemctl /),
    });
    expect(named(report, "configuration")).toMatchObject({ level: "problem", remedy: "berth check" });
  });

  test("people read each remedy on a line of its own, and the sum last", async () => {
    using folder = new TestFolder({ "oops.toml": "[sockets" });
    const { stdout } = await berth(["doctor", "--config", folder.path], { BERTHD_SOCKET: "/nonexistent/broker" });
    expect(stdout).toMatch(/^problem +the configuration has 1 problem\n +berth check$/m);
    expect(stdout).toMatch(/^fine +Node \d/m);
    expect(stdout).toMatch(/\n\d+ problems?\n$/);
  });

  test("a user's port below 1024 is compared with what users may bind", async () => {
    using folder = new TestFolder({ "web.toml": '[sockets.web]\nlisten = ["tcp://127.0.0.1:80"]\n' });
    const report = await examine(["--config", folder.path], { BERTHD_SOCKET: "/nonexistent/broker" });
    expect(named(report, "low-ports") === undefined).toBe(isRoot);
  });
});
