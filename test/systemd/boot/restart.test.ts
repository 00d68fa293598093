/** What a booted systemd keeps of a broker that is killed, restarted, or given too small a store. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Attacker, call } from "../../support/attacks/attacker.ts";
import { pathTo } from "../../support/attacks/program.ts";
import { bootMachine, MACHINE, type Machine, PACKAGE } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

const CONTROL = "/run/berthd/io.berthd.Broker";
/** Users that attack: one that may take no berth, and one that may take `prey`. */
const [STRANGER, TENANT] = [65_533, 65_534];
const fixture = (name: string): string => join(PACKAGE, "test/fixtures", name);

interface Listed {
  readonly name: string;
  readonly descriptors: readonly { readonly name: string; readonly address?: string }[];
  readonly lease?: { readonly id: string; readonly pid: number };
  readonly kept?: number;
  readonly state: string;
  readonly since?: number;
}

/** How long a berth has been vacant, the next broker does not know. */
function lasting(berths: readonly Listed[]): Listed[] {
  return berths.map(({ since, ...berth }) =>
    berth.state === "vacant" || since === undefined ? berth : { ...berth, since },
  );
}

/** A program in the machine whose lines are read. */
class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterableIterator<string>;

  constructor(machine: Machine, command: readonly string[]) {
    this.#child = machine.spawn(command);
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("no output");
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]();
    this.#child.stderr?.on("data", (data: Buffer) => process.stderr.write(data));
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the program ended");
    return value;
  }

  /** Ends its input; its next line. */
  finish(): Promise<string> {
    this.#child.stdin?.end();
    return this.line();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}

describe("a broker under systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    const attacker = dirname(pathTo("attacker"));
    machine = await bootMachine({
      binds: { [attacker]: attacker },
      files: {
        "/etc/berthd/prey.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:5000"]\n[tenant]\nusers = [${TENANT}]\n`,
        "/etc/berthd/game.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:4000", "udp://127.0.0.1:4000"]\n',
        "/etc/berthd/spare.toml": '[sockets.s]\nlisten = ["unix:///run/spare.sock", "tcp://[::1]:4001"]\n',
        "/etc/berthd/owned.toml": '[sockets.query]\nlisten = ["tcp://127.0.0.1:4002"]\nbacklog = 7\n',
        "/etc/systemd/system/owned.socket":
          "[Socket]\nListenStream=127.0.0.1:4002\nFileDescriptorName=owned.query\nService=berthd.service\n",
      },
    });
    await machine.sh("berth units install >&2; systemctl daemon-reload; systemctl start berthd.socket owned.socket");
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const list = async (): Promise<Listed[]> => JSON.parse(await machine.ok(["berth", "ls", "--json"])) as Listed[];
  const inodes = (): Promise<string> =>
    machine.sh(
      "ss -Htulnxe '( sport >= 4000 and sport <= 4002 ) or src unix:/run/spare.sock' | grep -o 'ino:[0-9]*' | sort",
    );
  const stored = async (): Promise<number> =>
    Number((await machine.show("berthd.service", "NFileDescriptorStore"))["NFileDescriptorStore"]);
  const keptBy = (berths: readonly Listed[]): number => berths.reduce((sum, { kept = 0 }) => sum + kept, 0);
  const restarted = (before: string): Promise<string> =>
    machine.waitFor("the next broker", async () => {
      const { MainPID = "0", ActiveState } = await machine.show("berthd.service", "MainPID", "ActiveState");
      return ActiveState === "active" && MainPID !== "0" && MainPID !== before && MainPID;
    });

  test("is started by its first client, and takes the socket of a .socket unit for the berth it is named after", async () => {
    expect((await machine.show("berthd.service", "ActiveState"))["ActiveState"]).toBe("inactive");
    const berths = await list();
    expect(berths.map(({ name }) => name)).toEqual(["game", "owned", "prey", "spare"]);
    expect(await machine.show("berthd.service", "ActiveState", "StatusText")).toEqual({
      ActiveState: "active",
      StatusText: "4 berths, 0 taken",
    });
    expect(await machine.sh("ss -Htln 'sport = 4002' | awk '{print $3}'")).toBe("7\n");
    expect(await stored()).toBe(6);
    expect(keptBy(berths)).toBe(6);
  });

  test("is killed ten times under load: nobody is refused, no lease, descriptor or player is lost", async () => {
    await using tenant = new Program(machine, ["python3", fixture("echo-tenant.py"), CONTROL, "game"]);
    const lease = await tenant.line();
    await using load = new Program(machine, ["python3", fixture("load.py"), CONTROL, "4000"]);
    expect(await load.line()).toBe("going");
    const [before, sockets] = [await list(), await inodes()];
    expect(before.find(({ name }) => name === "game")?.lease?.id).toBe(lease);
    let { MainPID = "" } = await machine.show("berthd.service", "MainPID");
    for (let round = 0; round < 10; round++) {
      await machine.ok(["systemctl", "kill", "-s", "KILL", "berthd"]);
      MainPID = await restarted(MainPID);
      const now = await list();
      expect(lasting(now)).toEqual(lasting(before));
      expect(await stored()).toBe(keptBy(now));
    }
    expect(await inodes()).toBe(sockets);
    const outcome = JSON.parse(await load.finish()) as Record<string, number>;
    expect(outcome).toMatchObject({ refused: 0, wrong: [] });
    expect([outcome["calls"], outcome["games"], outcome["datagrams"], outcome["said"]].every((n = 0) => n > 100)).toBe(
      true,
    );
  }, 120_000);

  test("is restarted by systemctl: the same, and a tenant that died meanwhile has no lease any more", async () => {
    const sockets = await inodes();
    {
      await using tenant = new Program(machine, ["python3", fixture("echo-tenant.py"), CONTROL, "game"]);
      const lease = await tenant.line();
      await machine.ok(["systemctl", "restart", "berthd"]);
      expect((await list()).find(({ name }) => name === "game")?.lease?.id).toBe(lease);
      expect(await inodes()).toBe(sockets);
    }
    await machine.waitFor("the lease to end", async () => (await list()).every(({ lease }) => lease === undefined));
    await machine.waitFor("the store to follow", async () => (await stored()) === 6);
  }, 120_000);

  test("is restarted by systemctl, and killed, while attacks last", async () => {
    const begin = async (uid: number, lines: readonly string[]): Promise<Attacker> => {
      const attacker = new Attacker(uid, machine.inside);
      for (const line of [`connect c ${CONTROL}`, ...lines]) await attacker.do(line);
      return attacker;
    };
    await using stranger = await begin(STRANGER, ["make l lingering"]);
    const acquire = [`send c - ${call("Acquire", { berth: "prey" })}`, "receive c received"];
    await using tenant = await begin(TENANT, [...acquire, "make l lingering"]);
    await tenant.do(`send c l ${call("Stash", { lease: "@lease", name: "player" })}`);
    await tenant.do("hold received uffd");
    await tenant.do(`send c - ${call("Release", { lease: "@lease" })}`);
    for (let n = 0; n < 8; n++) {
      for (const attacker of [stranger, tenant]) await attacker.try(`send c l*9 ${call("List")}`);
    }
    for (const command of [["restart"], ["kill", "-s", "KILL"], ["restart"]]) {
      const { MainPID = "" } = await machine.show("berthd.service", "MainPID");
      await machine.ok(["systemctl", ...command, "berthd"], { timeout: 60_000 });
      await restarted(MainPID);
      expect((await list()).map(({ name }) => name)).toEqual(["game", "owned", "prey", "spare"]);
    }
  }, 120_000);

  test("with a store that is too small says how large it must be, and serves", async () => {
    machine.write({ "/etc/systemd/system/berthd.service.d/store.conf": "[Service]\nFileDescriptorStoreMax=3\n" });
    await machine.ok(["systemctl", "daemon-reload"]);
    await machine.ok(["systemctl", "stop", "berthd"]);
    await machine.waitFor("an empty store", async () => (await stored()) === 0);
    const berths = await list();
    expect(keptBy(berths)).toBe(3);
    await machine.waitFor("three in the store", async () => (await stored()) === 3);
    expect(await machine.journal("berthd.service")).toMatch(
      /keeps 3 descriptors and no more.*set FileDescriptorStoreMax=64/,
    );
  }, 120_000);
});
