/** The units, read and run by a booted systemd: verified, activated by a socket, allowed by name. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unitNames } from "../../../src/systemd/units.ts";
import { read } from "../../docs/markdown.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { ask, inodesAt } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

const listen = (port: number): string =>
  `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}", "udp://127.0.0.1:${port}"]\n`;
const server = 'deliver = ["bind"]\ncommand = ["/usr/games/bzfs", "-i", "127.0.0.1", "-p", "{port:game}"]\n';

describe("units on a booted systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    const dynamic = "[Service]\nDynamicUser=yes\n";
    machine = await bootMachine({
      files: {
        "/etc/berthd/arena.toml": `${listen(154)}[server]\nuser = "arena"\n${server}`,
        "/etc/berthd/guest.toml": `${listen(155)}[tenant]\nunits = ["berth@%n.service"]\n[server]\n${server}`,
        "/etc/berthd/other.toml": `${listen(156)}[tenant]\nunits = ["berth@guest.service"]\n[server]\n${server}`,
        "/etc/systemd/system/berth@guest.service.d/user.conf": dynamic,
        "/etc/systemd/system/berth@other.service.d/user.conf": dynamic,
      },
    });
    await machine.ok(["useradd", "--system", "arena"]);
    await machine.ok(["berth", "units", "install"]);
    await machine.ok(["systemctl", "daemon-reload"]);
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  test("systemd-analyze verify has nothing to say", async () => {
    // An instance of each template.
    const names = unitNames().map((name) => name.replace("@.", "@arena."));
    const { stdout, stderr, code } = await machine.run(["systemd-analyze", "verify", "--man=no", ...names]);
    expect([stdout, stderr, code]).toEqual(["", "", 0]);
  });

  test("the broker is exposed no more than the documentation says", async () => {
    const said = await machine.ok(["systemd-analyze", "security", "--no-pager", "berthd.service"]);
    const figure = /Overall exposure level for berthd.service: ([\d.]+)/.exec(said)?.[1];
    const [, documented, version] =
      /berthd\.service` says ([\d.]+) \(systemd (\d+)\)/.exec(read("docs/systemd.md")) ?? [];
    const systemd = /^systemd (\d+)/.exec(await machine.ok(["systemctl", "--version"]))?.[1];
    if (systemd === version) expect(figure).toBe(documented);
    else expect(Number(figure)).toBeLessThan(5);
  });

  test("the first client starts the broker", async () => {
    await machine.ok(["systemctl", "start", "berthd.socket"]);
    expect(await machine.show("berthd.service", "ActiveState")).toEqual({ ActiveState: "inactive" });
    expect(await machine.ok(["berth", "ls"])).toMatch(/^arena +vacant/m);
    const { ActiveState, StatusText } = await machine.show("berthd.service", "ActiveState", "StatusText");
    expect([ActiveState, StatusText]).toEqual(["active", expect.stringMatching(/^3 berths/)]);
    // Not node[…], which every program in JavaScript is.
    expect(await machine.journal("berthd.service")).toMatch(/ berthd\[\d+\]: ready/);
  });

  test("a server runs as its own user, without privilege, on ports that the broker holds", async () => {
    const before = await inodesAt(machine, 154);
    expect(before).toHaveLength(2);
    await machine.ok(["systemctl", "start", "berth@arena.service"]);
    expect((await ask(machine, "tcp", 154, "BZFLAG\r\n\r\n", 9)).toString("latin1")).toMatch(/^BZFS0\d{3}/);
    expect(await inodesAt(machine, 154)).toEqual(before);
    const { MainPID, ControlGroup } = await machine.show("berth@arena.service", "MainPID", "ControlGroup");
    expect(ControlGroup).toBe("/berths.slice/berth@arena.service");
    const status = machine.read(`/proc/${MainPID}/status`);
    expect(status).toMatch(/^Name:\tbzfs$/m);
    const uid = (await machine.ok(["id", "-u", "arena"])).trim();
    expect(status).toContain(`Uid:\t${[uid, uid, uid, uid].join("\t")}\n`);
    expect(status.match(/^Cap(Eff|Prm|Bnd|Amb):\t0+$/gm)).toHaveLength(4);
    expect(await machine.sh("berth show --json arena")).toContain(`"unit": "berth@arena.service"`);
  });

  test("a server that crashes is started again, on the same sockets", async () => {
    const before = await inodesAt(machine, 154);
    const { MainPID } = await machine.show("berth@arena.service", "MainPID");
    await machine.ok(["kill", "-KILL", MainPID ?? ""]);
    await machine.waitFor("a new server", async () => {
      const now = await machine.show("berth@arena.service", "MainPID", "ActiveState");
      return now["ActiveState"] === "active" && now["MainPID"] !== MainPID;
    });
    expect((await ask(machine, "tcp", 154, "BZFLAG\r\n\r\n", 9)).toString("latin1")).toMatch(/^BZFS0\d{3}/);
    expect(await inodesAt(machine, 154)).toEqual(before);
  });

  test("a unit that the berth names may take it, with a user that systemd made up", async () => {
    await machine.ok(["systemctl", "start", "berth@guest.service"]);
    expect((await ask(machine, "tcp", 155, "BZFLAG\r\n\r\n", 9)).toString("latin1")).toMatch(/^BZFS0\d{3}/);
    const { MainPID } = await machine.show("berth@guest.service", "MainPID");
    expect(machine.read(`/proc/${MainPID}/status`)).toMatch(/^Uid:\t6\d{4}\t/m);
  });

  test("a unit that the berth does not name is refused, and learns nothing of it", async () => {
    await machine.ok(["systemctl", "start", "--no-block", "berth@other.service"]);
    await machine.waitFor("the refusal", async () => (await machine.journal("berth@other")).includes("berth-launch:"));
    expect(await machine.journal("berth@other")).toContain(
      'you may not take berth "other", or there is none of that name',
    );
    expect(await machine.ok(["berth", "ls"])).toMatch(/^other +vacant/m);
    await machine.ok(["systemctl", "stop", "berth@other.service"]);
  });

  test("a broker that hangs is restarted, and its sockets and servers stay", async () => {
    const before = await inodesAt(machine, 154);
    const { MainPID: game } = await machine.show("berth@arena.service", "MainPID");
    machine.write({ "/run/systemd/system/berthd.service.d/watchdog.conf": "[Service]\nWatchdogSec=5s\n" });
    await machine.sh("systemctl daemon-reload && systemctl restart berthd");
    const { MainPID: broker } = await machine.show("berthd.service", "MainPID");
    await machine.ok(["kill", "-STOP", broker ?? ""]);
    await machine.waitFor(
      "the watchdog",
      async () => {
        const now = await machine.show("berthd.service", "MainPID", "ActiveState");
        return now["ActiveState"] === "active" && now["MainPID"] !== broker;
      },
      90_000,
    );
    expect(await machine.journal("berthd")).toContain("Watchdog timeout");
    expect(await inodesAt(machine, 154)).toEqual(before);
    expect(await machine.show("berth@arena.service", "MainPID")).toEqual({ MainPID: game });
    expect(await machine.ok(["berth", "ls"])).toMatch(/^arena +occupied/m);
    await machine.sh("rm -r /run/systemd/system/berthd.service.d && systemctl daemon-reload");
  }, 120_000);

  test("one target stops all servers, and the broker has their ports open", async () => {
    const before = await inodesAt(machine, 154, "udp");
    await machine.ok(["systemctl", "start", "berths.target"]);
    await machine.ok(["systemctl", "stop", "berths.target"]);
    await expect.poll(() => machine.ok(["berth", "ls"])).not.toContain("occupied");
    expect(await inodesAt(machine, 154, "udp")).toEqual(before);
    // bzfs shuts its listener down at its end. The broker opens a new one, or has it listen again if it sees the end of
    // the lease first.
    await expect.poll(() => inodesAt(machine, 154, "tcp")).toHaveLength(1);
  });

  test("a user's own manager runs broker and servers, whose sockets stay when the broker is restarted", async () => {
    await machine.ok(["useradd", "--create-home", "--uid", "7000", "player"]);
    await machine.ok(["systemctl", "start", "user@7000.service"]);
    const as = (script: string): Promise<string> =>
      machine.ok(["runuser", "-u", "player", "--", "env", "XDG_RUNTIME_DIR=/run/user/7000", "sh", "-euc", script]);
    const mine = `${listen(7900)}[server]\n${server}`;
    await as(`mkdir -p ~/.config/berthd; cat >~/.config/berthd/mine.toml <<'END'\n${mine}END`);
    await as("berth units install --user && systemctl --user daemon-reload && systemctl --user start berthd.socket");
    await as("systemctl --user start berth@mine");
    expect(await as("berth ls")).toMatch(/^mine +occupied/m);
    expect((await ask(machine, "tcp", 7900, "BZFLAG\r\n\r\n", 9)).toString("latin1")).toMatch(/^BZFS0\d{3}/);
    await as("systemctl --user stop berth@mine");
    // bzfs has shut its listener down. This gets the berth once the broker has opened a new one.
    await as("berth run mine -- true");
    const before = await inodesAt(machine, 7900);
    expect(before).toHaveLength(2);
    await as("systemctl --user restart berthd");
    expect(await as("berth ls")).toMatch(/^mine +vacant/m);
    expect(await inodesAt(machine, 7900)).toEqual(before);
    expect(await as("berth range ls")).toBe("no ranges\n");
    const said = await as("systemd-analyze --user verify --man=no ~/.config/systemd/user/* 2>&1");
    expect(said).toBe("");
    await as("systemctl --user stop berthd.socket berthd.service && berth units remove --user");
    expect(await as("ls -A ~/.config/systemd/user")).toBe("");
  }, 120_000);
});
