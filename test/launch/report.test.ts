/** Who is told why a launch failed, besides standard error. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { native, RECEIVED_LENGTH } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { boundSocket } from "../support/sockets.ts";
import { encode, FakeBroker, launcher, planOf, run } from "./fake-broker.ts";

describe("the messages of the server", () => {
  const brokers = { notify: { address: "/run/broker.notify", watchdog: 0 } };
  test.each<[string, Record<string, string>, string | undefined, string]>([
    ["go to the broker without a service manager", {}, undefined, ""],
    ["go to the manager that started the launcher", {}, "manager", ""],
    ["go to the broker where the manager's unit says so", { BERTHD_NOTIFY: "broker" }, undefined, "READY=1"],
    ["go to the manager that waits for its watchdog", { BERTHD_NOTIFY: "broker", WATCHDOG_USEC: "9" }, "manager", ""],
    ["go to the manager where the unit says that", { BERTHD_NOTIFY: "systemd" }, "manager", ""],
  ])("%s", async (title, variables, to, told) => {
    using folder = new TestFolder();
    using broker = new FakeBroker();
    const address = join(folder.path, "notify");
    using manager = boundSocket(`unix-dgram://${address}`);
    broker.offer(encode(planOf(["env"], brokers)));
    const env = { ...variables, ...(!title.includes("without a") && { NOTIFY_SOCKET: address }) };
    const { stdout } = await run([launcher, "--socket", broker.path, "arena"], { env });
    expect(/^NOTIFY_SOCKET=(.*)$/m.exec(stdout)?.[1]).toBe(to === "manager" ? address : brokers.notify.address);
    expect(stdout).not.toContain("BERTHD_NOTIFY");
    const data = Buffer.alloc(4096);
    const size = native.recvmsg(manager.fd, data, 0, new Int32Array(RECEIVED_LENGTH));
    expect(data.toString("utf8", 0, Math.max(0, size))).toBe(told);
  });
});

describe("the reason of a failure", () => {
  /** Starts the launcher with this file as its descriptor 7, for the report. */
  const launch = (report: string, broker: FakeBroker): ReturnType<typeof run> => {
    const script = 'exec 7>"$1"; shift; exec "$@"';
    return run(["sh", "-c", script, "sh", report, launcher, "--socket", broker.path, "--report", "7", "arena"]);
  };

  test("goes to the descriptor of --report too, after the server's have their places", async () => {
    using folder = new TestFolder();
    using broker = new FakeBroker();
    const report = join(folder.path, "report");
    broker.offer(encode(planOf(["/nonexistent/server"], { fds: [{ name: "game", index: 1 }] })), ["game"]);
    const started = await launch(report, broker);
    expect(started.code).toBe(111);
    const reason = readFileSync(report, "utf8");
    expect(reason).toMatch(/^cannot run \/nonexistent\/server as uid 65534: No such file or directory; [^\n]+$/);
    expect(started.stderr).toBe(`berth-launch: ${reason}\n`);
  });

  test("leaves nothing open in a server that runs", async () => {
    using folder = new TestFolder();
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["ls", "/proc/self/fd"])));
    const report = join(folder.path, "report");
    const started = await launch(report, broker);
    // 3 is the folder that ls reads.
    expect(started).toMatchObject({ code: 0, stdout: "0\n1\n2\n3\n" });
    expect(readFileSync(report, "utf8")).toBe("");
  });

  test("is the unit's status for the service manager", async () => {
    using folder = new TestFolder();
    const address = join(folder.path, "notify");
    using manager = boundSocket(`unix-dgram://${address}`);
    const env = { NOTIFY_SOCKET: address };
    const started = await run([launcher, "--socket", "/nonexistent/broker", "arena"], { env });
    expect(started.code).toBe(111);
    const data = Buffer.alloc(4096);
    const size = native.recvmsg(manager.fd, data, 0, new Int32Array(RECEIVED_LENGTH));
    expect(data.toString("utf8", 0, Math.max(0, size))).toBe(`STATUS=${started.stderr.trimEnd()}`);
  });

  test("is wrong usage for a descriptor that is not open", async () => {
    expect(await run([launcher, "--report", "77", "arena"])).toMatchObject({
      code: 100,
      stderr: "berth-launch: --report 77 is no open descriptor; pass one, as 3\n",
    });
  });
});
