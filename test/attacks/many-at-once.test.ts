/** Attacks of every kind at once, by twenty users, beside games that are played: nothing of theirs is lost. */
import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import { Attacker, call } from "../support/attacks/attacker.ts";
import { Game } from "../support/attacks/players.ts";
import { attackSeconds } from "../support/attacks/seconds.ts";
import { Siege } from "../support/attacks/siege.ts";
import { StuckFuse } from "../support/attacks/stuck-fuse.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";

const SECONDS = attackSeconds();
/** And again, for the broker to be killed and started meanwhile. */
const SECONDS_MORE = 6;
const PLAYERS = 200;
const FIRST_UID = 64_000;

const LIST = call("List");
const STASH = call("Stash", { lease: "@lease", name: "state" });

/** What each attacker does all the time: on a connection `c` to SOCKET, with the berth BERTH if it may take it. */
const attacks = (file: string): readonly (readonly string[])[] => [
  ["make l lingering", "buffer c 16384", `fill c ${LIST}`, "buffer c 1000000", `send c l ${LIST}`, "close l"],
  ["make l lingering", `send c l*200 ${LIST}`, "close l", "receive c"],
  ["make l loaded", `send c l ${STASH}`, "close l", "receive c"],
  [`make f open ${file}`, `send c f*9 ${LIST}`, "receive c", `send c f ${STASH}`, "receive c", "close f"],
  ["connect many SOCKET 200", `send many - ${call("Watch", {}, { more: true })}`, "close many"],
  [`send c - {"method":"io.berthd.Broker.List","parameters":{"x":${"[".repeat(60_000)}`, "drain c"],
  [`send c - {"method":"io.berthd.Broker.List","parameters":{"x":"${"y".repeat(100_000)}"}}`, "drain c"],
  ["make n namespace", `send c n*253 ${STASH}`, "receive c", "make s self", `send c s ${STASH}`, "receive c"],
  ["hold r uffd", `send c - ${call("Release", { lease: "@lease" })}`, "receive c"],
  ["bytes c - 7b226d", "make p pipe-in", "bytes c p*9 6574", "make q memfd", `send c q*253 ${LIST}`],
];

/** As many strangers as tenants, one of each for each attack. */
class Mob implements AsyncDisposable {
  readonly #attackers: Attacker[] = [];
  readonly #fuse: StuckFuse;

  private constructor(fuse: StuckFuse) {
    this.#fuse = fuse;
  }

  static async attack(siege: Siege, seconds: number): Promise<Mob> {
    const fuse = await StuckFuse.mount();
    await fuse.withhold("FLUSH", "GETATTR", "STATFS");
    const mob = new Mob(fuse);
    mob.#attack(siege, seconds);
    return mob;
  }

  #attack(siege: Siege, seconds: number): void {
    for (const [n, lines] of attacks(this.#fuse.file).entries()) {
      for (const uid of [FIRST_UID + n, FIRST_UID + 100 + n]) {
        const attacker = new Attacker(uid);
        this.#attackers.push(attacker);
        const begin = ["connect c SOCKET", `send c - ${call("Acquire", { berth: `prey-${n}` })}`, "receive c r"];
        const round = [...begin, ...lines, "pause 50"].map((line) => line.replace("SOCKET", siege.socket));
        // A tenant may be ended for what it does.
        attacker.keepDoing(seconds, round).catch(() => undefined);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fuse[Symbol.asyncDispose](); // attackers that wait for it end then
    await Promise.all(this.#attackers.map((attacker) => attacker[Symbol.asyncDispose]()));
  }
}

it("20 attackers for a minute", { ...needs("root"), timeout: 150_000 }, async () => {
  const port = await freePort();
  const prey = attacks("").map((_, n) => [
    `prey-${n}.toml`,
    `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[tenant]\nusers = [${FIRST_UID + 100 + n}]\n`,
  ]);
  await using siege = await Siege.begin({
    ...Object.fromEntries(prey),
    "played.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}", "udp://127.0.0.1:${port}"]\nbacklog = 1024\n[server]\nuser = "nobody"\n`,
  });
  {
    await using game = await Game.begin(siege.socket, "played", port, PLAYERS);
    await using _ = await Mob.attack(siege, SECONDS);
    const end = performance.now() + SECONDS * 1000;
    await siege.nobodyNoticed(() => performance.now() > end, SECONDS * 1000);
    const { sent, ...rest } = await game.over();
    expect(sent).toBeGreaterThan(PLAYERS * SECONDS);
    expect(rest).toMatchObject({ lost: 0, wrong: 0 });
  }
  await siege.nothingIsLeft();
  await using _ = await Mob.attack(siege, SECONDS_MORE);
  await pause(1000 * (SECONDS_MORE / 2));
  await siege.canBeKilledAndStarted();
});
