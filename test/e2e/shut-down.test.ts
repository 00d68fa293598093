/**
 * A real game server that shuts down its listening socket when it is asked to end: BZFlag, at SIGTERM. Clients connect
 * all the while.
 */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { endServers, withoutSystemd } from "../cli/support.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { bzflagBerth, knock, type Tally } from "../support/bzflag.ts";
import { tell } from "../support/counts.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";

const ROUNDS = 4;
const CROWD = 4;

test("bzfs may be ended by SIGTERM: its clients wait for the next server", {
  ...needs("root", "unshare", "bzfs"),
  timeout: 120_000,
}, async ({ task }) => {
  const port = await freePort();
  using folder = new TestFolder();
  chmodSync(folder.path, 0o777);
  await using broker = await spawnBroker({ "tanks.toml": bzflagBerth(port, folder.path) }, [
    "--state",
    join(folder.path, "state"),
  ]);
  const run = (...words: readonly string[]) => withoutSystemd(words, { BERTHD_SOCKET: broker.socket });
  const repairs = () => broker.log.filter(({ event }) => event === "repaired").map(({ message }) => message);
  const tally: Tally = { connects: 0, refused: 0, answered: 0, cut: 0 };
  const end = new AbortController();
  const crowd: Promise<void>[] = [];
  try {
    expect(await run("start", "tanks")).toMatchObject({ code: 0, stderr: "" });
    for (let one = 0; one < CROWD; one++) crowd.push(knock(port, tally, end.signal));
    for (let round = 1; round <= ROUNDS; round++) {
      const { answered } = tally;
      await expect.poll(() => tally.answered, { timeout: 30_000 }).toBeGreaterThan(answered + CROWD);
      expect(await run("restart", "tanks")).toMatchObject({ code: 0 });
      await expect.poll(() => repairs().length, { timeout: 30_000 }).toBe(round);
    }
  } finally {
    end.abort();
    await endServers(broker.socket);
    await Promise.all(crowd);
  }
  // Either while the server still had the berth, or, on a machine that is busy, right after its end.
  for (const sentence of repairs())
    expect(sentence).toMatch(/^berth tanks: socket game was shut down by the server; it (was opened|listens) again$/);
  const atOnce = repairs().filter((sentence) => sentence.includes("was opened again")).length;
  tell(task, { restarts: ROUNDS, "opened again before the end": atOnce, ...tally });
});
