import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { berth, berths, cli } from "./support.ts";

describe("berth run", () => {
  let broker: BrokerProcess;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    broker = await spawnBroker(berths);
    env = { BERTHD_SOCKET: broker.socket };
  });
  afterAll(() => broker[Symbol.asyncDispose]());

  test("becomes the server: same pid, exactly its fds, its exit code", async () => {
    const script = 'echo $$; echo /proc/self/fd/*; echo "$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES"; exit 7';
    const child = spawn(process.execPath, [cli, "run", "lobby", "--", "bash", "-c", script], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    expect(await once(child, "close")).toEqual([7, null]);
    // bash itself has the folder open while it looks.
    const fds = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3 /proc/self/fd/4";
    expect(said).toBe(`${child.pid}\n${fds}\n1 ${child.pid} web\n`);
  });

  test("hands the standard streams over as they came: blocking", async () => {
    const { stdout } = await berth(["run", "lobby", "cat", "/proc/self/fdinfo/1", "/proc/self/fdinfo/2"], env);
    const flags = [...stdout.matchAll(/^flags:\s+(\d+)$/gm)].map((match) => Number.parseInt(match[1] ?? "", 8));
    expect(flags).toHaveLength(2);
    const O_NONBLOCK = 0o4000;
    for (const flag of flags) expect(flag & O_NONBLOCK).toBe(0);
  });

  test("everything after the berth belongs to the server, even options of our own", async () => {
    for (const args of [
      ["run", "lobby", "echo", "--json", "--socket", "x", "--", "--help"],
      ["run", "lobby", "--", "echo", "--json", "--socket", "x", "--", "--help"],
      ["run", "--", "lobby", "--", "echo", "--json", "--socket", "x", "--", "--help"],
    ]) {
      expect(await berth(args, env)).toEqual({ code: 0, stdout: "--json --socket x -- --help\n", stderr: "" });
    }
  });

  test("an option after the berth's name is refused, and takes no berth; after -- it is a program", async () => {
    for (const option of ["--replace", "--dry-run", "-x"]) {
      const outcome = await berth(["run", "lobby", option, "try"], env);
      expect(outcome).toMatchObject({ code: 100, stdout: "" });
      expect(outcome.stderr).toContain(`write options before it: berth run ${option} lobby`);
    }
    const outcome = await berth(["run", "lobby", "--", "--dry-run"], env);
    expect(outcome).toMatchObject({ code: 111, stderr: expect.stringContaining("cannot run --dry-run") });
  });

  test("hands over what a service manager passed to it, after the berth's descriptors", async () => {
    const script = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=motd exec "$@"';
    const server = 'echo "$LISTEN_FDNAMES"; readlink /proc/$$/fd/4';
    const command = [process.execPath, cli, "run", "lobby", "--", "bash", "-c", server];
    const file = openSync("/etc/hostname", "r");
    const child = spawn("sh", ["-c", script, "sh", ...command], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit", file],
    });
    closeSync(file);
    let said = "";
    child.stdout?.on("data", (chunk) => {
      said += chunk;
    });
    await once(child, "close");
    expect(said).toBe("web:motd\n/etc/hostname\n");
  });

  test("--setenv sets variables, the last one of a name", async () => {
    const args = ["--setenv", "MAP=dm1", "--setenv", "MAP=dm 6", "--setenv=MODE=a=b"];
    const { stdout } = await berth(["run", ...args, "lobby", "sh", "-c", 'echo "$MAP|$MODE"'], env);
    expect(stdout).toBe("dm 6|a=b\n");
  });

  test("--dry-run prints the plan and gives the berth back", async () => {
    const { code, stdout } = await berth(["run", "--dry-run", "lobby"], env);
    expect(code).toBe(0);
    expect(stdout).toMatch(/program +"sleep"/);
    expect((await berth(["run", "lobby", "true"], env)).code).toBe(0);
  });

  test("a refusal is the broker's sentence and 1, and --replace must needs a tenant", async () => {
    const absent = await berth(["run", "nowhere"], env);
    expect(absent).toMatchObject({ code: 1, stdout: "" });
    expect(absent.stderr).toContain('there is no berth "nowhere"');
    const vacant = await berth(["run", "--replace", "must", "lobby"], env);
    expect(vacant).toMatchObject({ code: 1, stdout: "" });
    expect(vacant.stderr).toContain("no tenant to take over from");
  });

  test("a broker that is not there is named, and 111", async () => {
    const { code, stderr } = await berth(["run", "lobby"], { BERTHD_SOCKET: "/nonexistent/broker" });
    expect(code).toBe(111);
    expect(stderr).toContain("/nonexistent/broker");
  });
});

describe("launcherPath", () => {
  test("prefers what was built here to what came with the package, and passes over what cannot be executed", () => {
    const [built, prebuilt] = ["build/Release/berth-launch", `prebuilds/linux-${process.arch}/berth-launch`];
    using folder = new TestFolder({ [built]: "", [prebuilt]: "" });
    expect(() => launcherPath(folder.path)).toThrow("is neither at");
    chmodSync(join(folder.path, prebuilt), 0o755);
    expect(launcherPath(folder.path)).toBe(join(folder.path, prebuilt));
    chmodSync(join(folder.path, built), 0o755);
    expect(launcherPath(folder.path)).toBe(join(folder.path, built));
  });

  test("its absence is LAUNCHER_MISSING, which says how to build it", () => {
    using folder = new TestFolder();
    expect(() => launcherPath(folder.path)).toThrow(expect.objectContaining({ code: "LAUNCHER_MISSING" }));
    expect(() => launcherPath(folder.path)).toThrow("npm rebuild berthd");
  });
});
