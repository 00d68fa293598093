/** An operator's verbs on a booted systemd: start, restart and stop of servers that systemd would start again. */
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lines } from "../../cli/support.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { inodesAt } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

const berth = (port: number, command: string, server = ""): string =>
  `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\nuser = "nobody"\n${server}command = ["sh", "-c", '${command}']\n`;

describe("the verbs on a booted systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      files: {
        "/etc/berthd/arena.toml": berth(154, "echo serving; sleep 1000 & exec sleep 1000"),
        "/etc/berthd/worlds.toml": berth(157, 'while read -r line; do echo "got $line"; done', "console = true\n"),
        "/etc/berthd/broken.toml": berth(155, "echo no map >&2; exit 3"),
        "/etc/berthd/always.toml": berth(156, 'trap "" TERM; while :; do sleep 0.1; done'),
        "/etc/systemd/system/berth@always.service.d/test.conf": "[Service]\nRestart=always\nTimeoutStopSec=1\n",
      },
    });
    await machine.ok(["berth", "units", "install"]);
    await machine.ok(["systemctl", "daemon-reload"]);
    await machine.ok(["systemctl", "start", "berthd.socket"]);
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const mainPid = async (name: string): Promise<string | undefined> =>
    (await machine.show(`berth@${name}.service`, "MainPID"))["MainPID"];

  test("start waits until the server has its berth; a second one leaves it alone", async () => {
    const said = await machine.ok(["berth", "start", "arena"]);
    const pid = await mainPid("arena");
    expect(said).toBe(`arena: started pid ${pid} (berth@arena.service)\n`);
    expect(await machine.ok(["berth", "start", "arena"])).toBe(
      `arena: runs already, as pid ${pid} (berth@arena.service)\n`,
    );
  });

  test("logs prints what the server wrote, its last lines only if asked, and goes on with -f", async () => {
    expect(await machine.ok(["berth", "logs", "arena"])).toMatch(/ arena\[\d+\]: serving$/m);
    expect(await machine.ok(["berth", "logs", "-n", "0", "arena"])).toBe("");
    expect(await machine.ok(["berth", "logs", "--since", "1h", "arena"])).toMatch(/ arena\[\d+\]: serving$/m);
    expect(await machine.ok(["berth", "logs", "--since", "2199-01-01", "arena"])).toBe("");
    const records = (await machine.ok(["berth", "logs", "--json", "arena"]))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const pid = Number(await mainPid("arena"));
    expect(records).toContainEqual({ time: expect.stringMatching(/^\d.*Z$/), from: "server", pid, message: "serving" });
    expect(records).toContainEqual(expect.objectContaining({ from: "systemd" }));
    const follow = machine.spawn(["berth", "logs", "-f", "-n", "1000", "arena"], "ignore");
    if (follow.stdout === null) throw new Error("no stdout");
    const lines = new Lines(follow.stdout);
    await lines.find((line) => line.endsWith(": serving"));
    await machine.ok(["berth", "restart", "arena"]);
    await lines.find((line) => line.endsWith(": serving"));
    const ended = once(follow, "close");
    follow.kill("SIGINT");
    await ended;
    for (const wrong of ["arena@", "-x", "../a"])
      expect((await machine.run(["berth", "logs", "--", wrong])).code).toBe(100);
  });

  test("console types on a server under systemd; its lines are in the journal, and its unit ends with it", async () => {
    await machine.ok(["berth", "start", "worlds"]);
    const pid = await mainPid("worlds");
    const unit = "berth@worlds.service";
    const sent = await machine.ok(["berth", "console", "--json", "--send", "save-all", "--wait", "1", "worlds"]);
    expect(JSON.parse(sent)).toEqual({
      berth: "worlds",
      pid: Number(pid),
      sent: ["save-all"],
      output: ["save-all", "got save-all"],
      ended: false,
    });
    expect(await machine.ok(["berth", "logs", "worlds"])).toMatch(/ worlds\[\d+\]: got save-all$/m);
    await machine.ok(["berth", "stop", "worlds"]);
    expect(await machine.show(unit, "ActiveState", "Result")).toEqual({ ActiveState: "inactive", Result: "success" });
    // The keeper was no process that the server had left: the lease ended with the server. The broker hears of that
    // beside systemd.
    const told = await machine.waitFor("the end of the lease", async () => {
      const lines = (await machine.journal("berthd")).split("\n");
      return lines.some((line) => line.includes(`berth worlds: pid ${pid} no longer has it: it exited`)) && lines;
    });
    expect(told.filter((line) => line.includes(`pid ${pid} exited, and its server goes on`))).toEqual([]);
  });

  test("enable has a server start at boot, with the socket of the broker, and disable no longer", async () => {
    const units = ["berth@arena.service", "berths.target", "berthd.socket"];
    const states = async (): Promise<string[]> =>
      (await machine.run(["systemctl", "is-enabled", ...units])).stdout.trim().split("\n");
    expect(await states()).toEqual(["disabled", "disabled", "disabled"]);
    const pid = await mainPid("arena");
    expect(await machine.ok(["berth", "enable", "--now", "arena"])).toBe(
      `arena: starts at every boot (berth@arena.service); runs as pid ${pid}\n`,
    );
    expect(await states()).toEqual(["enabled", "enabled", "enabled"]);
    expect(await machine.ok(["berth", "disable", "--json", "arena"])).toBe(
      `${JSON.stringify([{ berth: "arena", unit: "berth@arena.service", enabled: false, pid: null }], null, 2)}\n`,
    );
    expect(await states()).toEqual(["disabled", "enabled", "enabled"]);
    expect(await mainPid("arena")).toBe(pid);
    expect((await machine.run(["berth", "enable", "nope"])).code).toBe(1);
    expect((await machine.run(["berth", "disable", "a b"])).code).toBe(100);
  });

  test("restart has another server on the same socket", async () => {
    const [before, inodes] = [await mainPid("arena"), await inodesAt(machine, 154)];
    const [result] = JSON.parse(await machine.ok(["berth", "restart", "--json", "arena"]));
    const pid = Number(await mainPid("arena"));
    expect(result).toEqual({ berth: "arena", pid, unit: "berth@arena.service", already: false });
    expect(pid).not.toBe(Number(before));
    expect(await inodesAt(machine, 154)).toEqual(inodes);
  });

  test("start says how a server ended that did not start, and stop ends its restarts", async () => {
    const { code, stdout, stderr } = await machine.run(["berth", "start", "broken", "nope"]);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr.split("\n").sort()).toEqual([
      "",
      "berth: the server of berth broken did not start: it ended with status 3; see: berth logs broken",
      expect.stringMatching(/^berth: there is no berth "nope", or you may not take it/),
    ]);
    expect(await machine.ok(["berth", "stop", "broken"])).toBe("broken: stopped berth@broken.service\n");
    expect(await machine.show("berth@broken.service", "ActiveState")).not.toEqual({ ActiveState: "activating" });
  });

  test("stop ends one that systemd would always start again, with SIGKILL if it must, and it stays down", async () => {
    await machine.ok(["berth", "start", "always"]);
    const pid = await mainPid("always");
    expect(await machine.ok(["berth", "stop", "always", "arena"])).toContain(
      `always: stopped pid ${pid} (berth@always.service)\n`,
    );
    for (const name of ["always", "arena"]) {
      const { ActiveState, NRestarts } = await machine.show(`berth@${name}.service`, "ActiveState", "NRestarts");
      expect({ ActiveState, NRestarts }).toEqual({
        ActiveState: expect.stringMatching(/^(inactive|failed)$/),
        NRestarts: "0",
      });
    }
    const berths = JSON.parse(await machine.ok(["berth", "ls", "--json"])) as { name: string; state: string }[];
    expect(berths.map(({ name, state }) => `${name} ${state}`)).toEqual([
      "always vacant",
      "arena vacant",
      "broken vacant",
      "worlds vacant",
    ]);
    expect(await inodesAt(machine, 154)).toHaveLength(1);
    expect((await machine.run(["pgrep", "-u", "nobody", "sleep"])).stdout).toBe("");
  });

  test("restart leaves one alone that systemd did not start, and stop ends it", async () => {
    await machine.sh("setsid -f berth run arena -- sleep 1000 </dev/null >/dev/null 2>&1");
    const pid = await machine.waitFor("the server", async () => {
      const [found] = JSON.parse(await machine.ok(["berth", "ls", "--json"])).filter(
        ({ name }: { name: string }) => name === "arena",
      );
      return found.lease?.pid as number | undefined;
    });
    const { code, stderr } = await machine.run(["berth", "restart", "arena"]);
    expect({ code, stderr }).toEqual({
      code: 111,
      stderr: `berth: pid ${pid} of berth arena is not berth@arena.service: berth stop arena, then start it as before\n`,
    });
    expect(await machine.ok(["berth", "stop", "arena"])).toBe(`arena: stopped pid ${pid}\n`);
  });

  test("rm removes a berth from the boot as well, and the server with it", async () => {
    await machine.ok(["berth", "enable", "--now", "arena"]);
    const pid = await mainPid("arena");
    expect(await machine.ok(["berth", "rm", "--yes", "arena"])).toBe(
      `arena: stopped pid ${pid}, removed /etc/berthd/arena.toml\n`,
    );
    expect(await machine.ok(["berth", "ls", "--names"])).toBe("always\nbroken\nworlds\n");
    expect((await machine.run(["systemctl", "is-enabled", "berth@arena.service"])).stdout).toBe("disabled\n");
    expect((await machine.show("berth@arena.service", "ActiveState"))["ActiveState"]).toMatch(/^(inactive|failed)$/);
  });
});
