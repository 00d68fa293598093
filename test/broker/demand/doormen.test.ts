/** Sleeping servers of more users than there may be doormen: each has one once something comes for it. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Accounts } from "../../../src/accounts.ts";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Doormen } from "../../../src/broker/demand/doorman/doormen.ts";
import { DEFAULT_DOORMAN_LIMITS, type DoormanLimits } from "../../../src/broker/demand/doorman/limits.ts";
import { SleepWatch } from "../../../src/broker/demand/sleep-watch.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { native } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";
import { ask, asleep, client, doormen, getstatus, join3, PATIENCE, send } from "../../support/doorman/doors.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";

leaksNothing("soon");

const FIRST_UID = 61_000;
const accounts: Accounts = {
  passwd: (user) => {
    const uid = FIRST_UID + Number(String(user).slice(1));
    return { name: String(user), uid, gid: uid, home: "/", shell: "/bin/false", groups: [uid] };
  },
  group: () => undefined,
};

/** Berths of as many users, all vacant and watched. */
class Scene implements Disposable {
  readonly doormen: Doormen;
  readonly ports: readonly number[];
  readonly woken: string[] = [];
  readonly logged: string[] = [];
  /** The most processes that there were at once. */
  most = 0;
  readonly #watches: readonly SleepWatch[];
  readonly #sockets: HeldSocket[] = [];

  constructor(users: number, limits: Partial<DoormanLimits>) {
    this.doormen = new Doormen({
      sys: native,
      log: (_, message) => this.logged.push(message),
      limits: { ...DEFAULT_DOORMAN_LIMITS, ...limits },
      onProcesses: (processes) => {
        this.most = Math.max(this.most, processes.length);
      },
    });
    const berths = Array.from({ length: users }, (_, at) => this.#berth(at));
    this.ports = this.#sockets.map(({ address }) => (address.family === "unix" ? 0 : address.port));
    this.#watches = berths.map((berth, at) => {
      const onWake = (): number => this.woken.push(berth.name);
      const watch = new SleepWatch(native, berth, this.doormen, { onWake, onHangUp: () => expect.unreachable() });
      watch.arm([this.#sockets[at]?.fd ?? expect.unreachable()]);
      return watch;
    });
  }

  #berth(at: number): Berth {
    const socket = '[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n';
    const server = `[server]\ncommand = ["x"]\nuser = "u${at}"\nstart = "on-demand"\n${asleep}`;
    using folder = new TestFolder({ [`b${at}.toml`]: socket + server });
    const [spec] = loadConfig({ directories: [folder.path], accounts }).specs;
    const [game] = spec?.sockets ?? [];
    const [address] = game?.listen ?? [];
    if (spec === undefined || game === undefined || address === undefined) return expect.unreachable();
    const held = HeldSocket.open(address, game.options, native);
    this.#sockets.push(held);
    return new Berth(spec, [{ name: "game", socket: held }]);
  }

  /** The broker watches this one no longer. */
  leave(at: number): void {
    this.#watches[at]?.disarm();
  }

  [Symbol.dispose](): void {
    for (const watch of this.#watches) watch.disarm();
    this.doormen.close();
    for (const socket of this.#sockets) socket.close();
  }
}

describe("doormen of many users", needs("root"), () => {
  beforeAll(() => expect(doormen()).toEqual([]));
  afterAll(() => vi.waitFor(() => expect(doormen()).toEqual([]), PATIENCE));

  it("are there from the beginning for the first users, and for others once something comes", async () => {
    using scene = new Scene(6, { eager: 2 });
    expect(doormen().length).toBe(2);
    const answers = await Promise.all(scene.ports.map((port) => ask(port, getstatus)));
    for (const answer of answers) expect(answer).toContain("\\sv_hostname\\Frozen Lake\\");
    expect(doormen().length).toBe(6);
    expect(scene).toMatchObject({ woken: [], logged: [] });
  });

  it("are never more than the limit: one goes for another, and comes again, and a join wakes its server", async () => {
    using scene = new Scene(6, { eager: 2, most: 3, stay: 300, startingAtOnce: 2 });
    for (let round = 0; round < 2; round++) {
      for (const port of scene.ports) expect(await ask(port, getstatus)).toContain("Frozen Lake");
      const all = await Promise.all(scene.ports.map((port) => ask(port, getstatus)));
      expect(all.length).toBe(6);
    }
    expect(scene.most).toBeLessThanOrEqual(3);
    expect(scene).toMatchObject({ woken: [], logged: [] });
    for (const [at, port] of scene.ports.entries()) {
      const player = await client(port);
      await send(player, join3);
      await vi.waitFor(() => expect(scene.woken[at]).toBe(`b${at}`), PATIENCE);
      player.close();
    }
    expect(scene.woken.length).toBe(6);
  });

  it("that have not been there for long stay, and what waits for others is read once one has nothing to do", async () => {
    using scene = new Scene(3, { eager: 2, most: 2, stay: 3_600_000 });
    const [first = 0, , third = 0] = scene.ports;
    const player = await client(third);
    await send(player, join3);
    // It has had turns to make room by then.
    for (let asked = 0; asked < 3; asked++) expect(await ask(first, getstatus)).toContain("Frozen Lake");
    expect(scene).toMatchObject({ woken: [], most: 2, logged: [] });
    scene.leave(0);
    await vi.waitFor(() => expect(scene.woken).toEqual(["b2"]), PATIENCE);
    expect(scene.most).toBe(2);
    player.close();
  });

  it("close what they have when a reload begins, also those that make room then", async () => {
    using scene = new Scene(4, { eager: 2, most: 2, stay: 300 });
    for (const port of scene.ports) expect(await ask(port, getstatus)).toContain("Frozen Lake");
    for (let round = 0; round < 5; round++) {
      const players = await Promise.all(scene.ports.map((port) => client(port)));
      for (const player of players) await send(player, getstatus);
      await scene.doormen.withdraw();
      scene.doormen.readmit();
      for (const port of scene.ports) expect(await ask(port, getstatus)).toContain("Frozen Lake");
      for (const player of players) player.close();
    }
    expect(scene).toMatchObject({ woken: [], logged: [] });
    expect(scene.most).toBeLessThanOrEqual(2);
  });
});
