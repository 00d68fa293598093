/** A real game server, started by its first packet and stopped when idle, as the unit of a booted systemd. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BerthRecord } from "../../../src/cli/berths/berth-records.ts";
import { read } from "../../docs/markdown.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";
import { fixtures } from "../../support/puppet.ts";

/** A berth on that UDP port, whose server starts with its first packet. */
const onDemand = (port: number, command: readonly string[], more = ""): string =>
  `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n` +
  `[server]\nstart = "on-demand"\nuser = "games"\ncommand = ${JSON.stringify(command)}\n${more}`;
/** Runs a command once there is a file; until then it fails. */
const whenThere = (file: string, command: string): string[] => [
  "/bin/sh",
  "-c",
  `test -e ${file} || exit 3; exec ${command}`,
];

const files = {
  "/etc/berthd/tee.toml": onDemand(
    8303,
    ["/usr/games/teeworlds-server", "-f", "tw.cfg"],
    `directory = "/srv/tee"
environment = { HOME = "/srv/tee/home" }
deliver = ["bind"]
stop-after = "6s"
`,
  ),
  "/etc/berthd/bad@.toml": onDemand(8304, whenThere("/srv/good", "sleep 1000")),
  "/etc/berthd/bad@one-1.toml": "",
  "/etc/berthd/late.toml": onDemand(8305, whenThere("/srv/late-good", "python3 -S /srv/late.py")),
  "/etc/berthd/told.toml": onDemand(8306, ["/usr/bin/python3", "-S", "/srv/told.py"], "inherit-environment = false\n"),
  "/srv/told.py": `import os, socket, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.sendto(b"READY=1\\nSTATUS=map dm6\\nX_BERTHD_PLAYERS=3", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
`,
  "/srv/late.py": `import socket, time
game = socket.socket(fileno=3)
game.setblocking(True)
open("/srv/tee/home/late", "wb").write(game.recv(99))
time.sleep(1000)
`,
  "/srv/tee/tw.cfg": "sv_port 8303\nbindaddr 127.0.0.1\nsv_register 0\nsv_name berthd-test\n",
  "/srv/tee/home/.keep": "",
  "/srv/player.py": readFileSync(join(fixtures, "teeworlds-player.py")),
};

describe("on a booted systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({ files });
    await machine.sh("chmod -R a+rX /srv; chown games /srv/tee/home");
    await machine.sh("berth units install && systemctl daemon-reload && systemctl start berthd.service");
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const show = async (name: string): Promise<BerthRecord> =>
    JSON.parse(await machine.ok(["berth", "show", name, "--json"])) as BerthRecord;
  const send = (text: string, port: number): Promise<string> =>
    machine.ok(["python3", "-c", `import socket; socket.socket(2, 2).sendto(b"${text}", ("127.0.0.1", ${port}))`]);
  const play = (): Promise<string> => machine.ok(["python3", "-S", "/srv/player.py", "8303"]);

  test("Teeworlds answers the client whose first packet started it, stops when idle, and starts again", async () => {
    expect(await show("tee")).toMatchObject({ state: "vacant", start: { state: "waiting" } });
    expect((await machine.show("berth@tee.service", "ActiveState"))["ActiveState"]).toBe("inactive");
    const pids: (string | undefined)[] = [];
    for (let round = 0; round < 2; round++) {
      expect(await play()).toBe("berthd-test\n");
      const unit = await machine.show("berth@tee.service", "MainPID", "ActiveState");
      const { lease } = await show("tee");
      expect(unit["ActiveState"]).toBe("active");
      expect(lease).toMatchObject({ pid: Number(unit["MainPID"]), unit: "berth@tee.service" });
      expect(await machine.ok(["ps", "-o", "user=", "-p", unit["MainPID"] ?? ""])).toBe("games\n");
      pids.push(unit["MainPID"]);
      await machine.waitFor(
        "it to be idle",
        async () => {
          const { ActiveState } = await machine.show("berth@tee.service", "ActiveState");
          return ActiveState === "inactive" && (await show("tee")).start?.state === "waiting";
        },
        90_000,
      );
    }
    expect(new Set(pids).size).toBe(2);
    expect(await machine.journal("berthd.service")).toContain("berth tee: no traffic for 6 s");
  }, 120_000);

  test("a server that was stopped by hand starts again at the next packet", async () => {
    expect(await play()).toBe("berthd-test\n");
    await machine.ok(["systemctl", "stop", "berth@tee.service"]);
    expect(await play()).toBe("berthd-test\n");
  }, 120_000);

  test("a server that does not start is tried again ever later, and the broker says why", async () => {
    await send("x", 8304);
    const failed = await machine.waitFor("two failures", async () => {
      const { start } = await show("bad@one-1");
      return start?.state === "failed" && start.failures >= 2 && start;
    });
    expect(failed).toMatchObject({ status: 3, reason: "it ended with status 3" });
    expect(failed.next).toBeGreaterThan(0);
    expect(await machine.ok(["berth", "show", "bad@one-1"])).toMatch(
      /failed +\d times; last reason: it ended with status 3/,
    );
    await machine.ok(["touch", "/srv/good"]);
    await machine.waitFor("it to run", async () => (await show("bad@one-1")).state === "occupied");
    expect((await show("bad@one-1")).lease?.unit).toBe("berth@bad@one-1.service");
  }, 120_000);

  test("what a server says of itself goes to the broker, or to systemd where a drop-in says so", async () => {
    await send("x", 8306);
    await machine.waitFor("its status", async () => (await show("told")).status === "map dm6");
    expect(await show("told")).toMatchObject({
      lease: { unit: "berth@told.service" },
      ready: true,
      players: { count: 3 },
    });
    const [, dropIn = ""] = /```ini\n +# .*\n([\s\S]*?) +```/.exec(read("docs/notify.md")) ?? [];
    const text = dropIn.replace(/^ +/gm, "");
    expect(text).toContain("Type=notify");
    const set = async (lines: string): Promise<void> => {
      machine.write({ "/etc/systemd/system/berth@told.service.d/notify.conf": lines });
      await machine.sh("systemctl daemon-reload; systemctl stop berth@told; systemctl start berth@told");
    };
    await set(text);
    expect(await machine.show("berth@told", "StatusText", "ActiveState")).toEqual({
      StatusText: "map dm6",
      ActiveState: "active",
    });
    expect(await show("told")).toMatchObject({ ready: false });
    // It does not wait for what systemd will never hear.
    await set("[Service]\nType=notify\n");
    await machine.waitFor("its status again", async () => (await show("told")).status === "map dm6");
    expect(await machine.show("berth@told", "ActiveState", "NRestarts")).toEqual({
      ActiveState: "active",
      NRestarts: "0",
    });
  }, 120_000);

  test("a broker that is restarted loses neither the packet that waits nor the server that runs", async () => {
    await send("waited", 8305);
    await machine.waitFor("a failure", async () => ((await show("late")).start?.failures ?? 0) > 0);
    expect(await play()).toBe("berthd-test\n");
    const { lease } = await show("tee");
    await machine.ok(["systemctl", "restart", "berthd.service"]);
    expect(await show("tee")).toMatchObject({ lease, start: { state: "running" } });
    await machine.ok(["touch", "/srv/late-good"]);
    const late = join(machine.root, "/srv/tee/home/late");
    await machine.waitFor("the packet to arrive", () => existsSync(late) && readFileSync(late, "utf8") === "waited");
    await machine.waitFor("it to be idle", async () => (await show("tee")).state === "vacant", 40_000);
  }, 120_000);
});
