/** A server on the terminal of the shell that launched it: it must not type there, and Ctrl-C must end it. */
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Plan } from "../../src/launch/plan.ts";
import { packageRoot } from "../../src/native.ts";
import { isRoot } from "../support/needs.ts";
import { encode, FakeBroker, launch, launcher, planOf, run } from "./fake-broker.ts";

const fixtures = join(packageRoot, "test/fixtures/launch");
const terminal = join(fixtures, "terminal.py");
const CAP_SYS_ADMIN = 21;

/** The server that types, compiled into the broker's folder, which everybody may enter from then on. */
function typist(broker: FakeBroker): string {
  const program = join(broker.folder, "type-ahead");
  const flags = ["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];
  execFileSync("gcc", [...flags, "-o", program, join(fixtures, "type-ahead.c")]);
  chmodSync(broker.folder, 0o755);
  return program;
}

describe("a server on a terminal", () => {
  test("types nothing into the shell that launched it, by no way into the kernel (TIOCSTI, TIOCLINUX)", async () => {
    using broker = new FakeBroker();
    const program = typist(broker);
    broker.offer(encode(planOf([program])));
    const { stdout, stderr } = await run(["python3", terminal, "typed", launcher, "--socket", broker.path, "arena"]);
    expect(stderr).toBe("");
    const [input, ...ways] = stdout.trimEnd().split("\n").toReversed();
    expect(input).toBe("input: none");
    expect(ways.length).toBeGreaterThanOrEqual(4);
    for (const way of ways) expect(way).toMatch(/: EPERM$/);
  });

  test("ends by Ctrl-C", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["sh", "-c", "echo ready; exec sleep 600"])));
    const press = ["python3", terminal, "interrupt", launcher, "--socket", broker.path, "arena"] as const;
    expect(await run(press)).toMatchObject({ code: 0, stdout: "ready\nSIGINT\n", stderr: "" });
  });
});

/** How many filters a process has, of /proc/PID/status. Each costs something for every system call. */
const filters = (status: string): number => Number(/^Seccomp_filters:\s*(\d+)$/m.exec(status)?.[1]);
const ownFilters = filters(readFileSync("/proc/self/status", "utf8"));
const statusPlan = (more?: Partial<Plan>): Buffer => encode(planOf(["cat", "/proc/self/status"], more));

describe("the filter against typing", () => {
  test("is left out where the server can have no terminal", async () => {
    using broker = new FakeBroker();
    broker.offer(statusPlan());
    const { stdout, stderr } = await launch(broker, ["arena"], { detached: true });
    expect(stderr).toBe("");
    expect(filters(stdout)).toBe(ownFilters);
  });

  test("is there where the server could make an inherited terminal its own", async () => {
    using broker = new FakeBroker();
    broker.offer(statusPlan());
    const { stdout, stderr } = await run([
      "python3",
      terminal,
      "inherited",
      launcher,
      "--socket",
      broker.path,
      "arena",
    ]);
    expect(stderr).toBe("");
    expect(filters(stdout)).toBe(ownFilters + 1);
  });

  test.skipIf(!isRoot)("is there for a server with CAP_SYS_ADMIN, which can type into any terminal", async () => {
    using broker = new FakeBroker();
    broker.offer(statusPlan({ capabilities: [CAP_SYS_ADMIN] }));
    const { stdout, stderr } = await launch(broker, ["arena"], { detached: true });
    expect(stderr).toBe("");
    expect(filters(stdout)).toBe(ownFilters + 1);
  });
});
