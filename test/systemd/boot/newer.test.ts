/** What systemd does since 253, on a Debian of its own: reloads that are waited for, varlinkctl(1) as a client. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unitNames } from "../../../src/systemd/units.ts";
import { BOOTABLE, DEBIAN, DEBIAN_TIMEOUT, debianTree } from "../../support/debian-tree.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

const SOCKET = "/run/berthd/io.berthd.Broker";

describe("systemd 257", needs(...MACHINE, ...DEBIAN), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      tree: debianTree(BOOTABLE),
      files: {
        "/etc/berthd/a.toml":
          '[sockets.game]\nlisten = ["tcp://127.0.0.1:7200"]\n[server]\nuser = "nobody"\ncommand = ["sh", "-c", "echo $$ $LISTEN_PID $LISTEN_FDNAMES; exec sleep 1000"]\n',
      },
    });
    await machine.sh("berth units install && systemctl daemon-reload && systemctl start berthd.socket");
  }, DEBIAN_TIMEOUT + 90_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  test("takes every unit without a word", async () => {
    const names = unitNames().map((name) => name.replace("@.", "@a."));
    const { stdout, stderr, code } = await machine.run(["systemd-analyze", "verify", "--man=no", ...names]);
    expect([stdout, stderr, code]).toEqual(["", "", 0]);
  });

  test("varlinkctl asks the broker, which starts for it", async () => {
    expect(await machine.ok(["varlinkctl", "info", SOCKET])).toMatch(/Product: berthd\n(.*\n)*.*io\.berthd\.Broker/);
    expect(await machine.ok(["varlinkctl", "introspect", SOCKET, "io.berthd.Broker"])).toContain("method Acquire(");
    const list = JSON.parse(await machine.ok(["varlinkctl", "call", "-j", SOCKET, "io.berthd.Broker.List", "{}"]));
    expect(list).toMatchObject({ berths: [{ name: "a", state: "vacant", descriptors: [{ name: "game" }] }] });
    const { code, stderr } = await machine.run([
      "varlinkctl",
      "call",
      SOCKET,
      "io.berthd.Broker.Acquire",
      '{"berth":"x"}',
    ]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("NoSuchBerth")]);
  });

  test("varlinkctl lists and describes the measurements", async () => {
    const ask = async (method: string): Promise<Record<string, unknown>[]> => {
      const text = await machine.ok([
        "varlinkctl",
        "call",
        "--more",
        "-j",
        SOCKET,
        `io.systemd.Metrics.${method}`,
        "{}",
      ]);
      return text
        .split("\u001e")
        .flatMap((part) => part.split("\n"))
        .filter((line) => line.trim() !== "")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    };
    expect(await machine.ok(["varlinkctl", "introspect", SOCKET, "io.systemd.Metrics"])).toContain("method Describe(");
    const [values, families] = [await ask("List"), await ask("Describe")];
    expect(values).toContainEqual({ name: "io.berthd.Broker.Leases", object: "a", value: 0 });
    expect(new Set(families.map(({ type }) => type))).toEqual(new Set(["counter", "gauge", "string"]));
    const names = new Set(families.map(({ name }) => name));
    expect(values.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([]);
  });

  test("a reload has been carried out when systemctl returns", async () => {
    for (let port = 7201; port < 7204; port++) {
      machine.write({ [`/etc/berthd/b${port}.toml`]: `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n` });
      await machine.ok(["systemctl", "reload", "berthd"]);
      expect(await machine.ok(["ss", "-Hlnt", `sport = :${port}`])).toContain("LISTEN");
    }
  });

  test("a reload with a mistake fails, prints it, and changes nothing; after a restart the others serve", async () => {
    machine.write({ "/etc/berthd/typo.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:7209"]\nbaklog = 3\n' });
    expect((await machine.run(["systemctl", "reload", "berthd"])).code).not.toBe(0);
    expect((await machine.run(["berth", "reload"])).stderr).toContain("/etc/berthd/typo.toml:3: ");
    expect(await machine.show("berthd", "StatusText")).toEqual({
      StatusText: expect.stringContaining("not the one in force"),
    });
    await machine.ok(["systemctl", "restart", "berthd"]);
    expect(await machine.ok(["berth", "ls"])).toMatch(/^a +vacant .*\n(.*\n)*typo +problem /m);
    expect(await machine.show("berthd", "StatusText", "NRestarts")).toEqual({
      StatusText: expect.stringContaining("1 with problems"),
      NRestarts: "0",
    });
    await machine.ok(["rm", "/etc/berthd/typo.toml"]);
    await machine.ok(["systemctl", "reload", "berthd"]);
  });

  test("a server whose berth does not exist is not started again", async () => {
    await machine.run(["systemctl", "start", "berth@nowhere"]);
    await machine.waitFor(
      "its end",
      async () => (await machine.show("berth@nowhere", "ActiveState"))["ActiveState"] === "failed",
    );
    expect(await machine.show("berth@nowhere", "ExecMainStatus", "NRestarts")).toEqual({
      ExecMainStatus: "101",
      NRestarts: "0",
    });
  });

  test("a server is the process that systemd started", async () => {
    await machine.ok(["systemctl", "start", "berth@a"]);
    const { MainPID } = await machine.show("berth@a", "MainPID");
    await machine.waitFor("its words", async () =>
      (await machine.journal("berth@a")).includes(`${MainPID} ${MainPID} game`),
    );
  });
});
