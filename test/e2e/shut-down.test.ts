/**
 * A real game server that shuts down its listening socket when it is asked to end: BZFlag, at SIGTERM. Clients connect
 * all the while.
 */
import { chmodSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { endServers, withoutSystemd } from "../cli/support.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { tell } from "../support/counts.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";

const ROUNDS = 4;
const CROWD = 4;
const PAUSE_MS = 5;

interface Tally {
  answered: number;
  refused: number;
  /** In the queue of the old listener when that was shut down, or accepted and not answered before the end. */
  cut: number;
}

/** Connects, until the signal is aborted, and waits for the server's answer, or for the next server's. */
async function knock(port: number, tally: Tally, end: AbortSignal): Promise<void> {
  for (; !end.aborted; await pause(PAUSE_MS)) {
    const socket = connect(port, "127.0.0.1");
    socket.write("BZFLAG\r\n\r\n");
    let answer = "";
    let isRefused = false;
    try {
      for await (const part of socket.setEncoding("latin1")) {
        answer += part;
        if (answer.length >= 9) break;
      }
    } catch (error) {
      isRefused = error instanceof Error && "code" in error && error.code === "ECONNREFUSED";
    }
    socket.destroy();
    if (isRefused) tally.refused++;
    else if (/^BZFS\d{4}/.test(answer)) tally.answered++;
    else tally.cut++;
  }
}

test("bzfs may be ended by SIGTERM: its clients wait for the next server", {
  ...needs("root", "unshare", "bzfs"),
  timeout: 120_000,
}, async ({ task }) => {
  const port = await freePort();
  using folder = new TestFolder();
  chmodSync(folder.path, 0o777);
  await using broker = await spawnBroker(
    {
      "tanks.toml": `[sockets.game]
        listen = ["tcp://127.0.0.1:${port}", "udp://127.0.0.1:${port}"]
        [server]
        command = ["${pathOf("bzfs")}", "-i", "127.0.0.1", "-p", "{port:game}"]
        deliver = ["bind"]
        directory = "${folder.path}"
        environment = { HOME = "${folder.path}" }
        user = "nobody"
        `,
    },
    ["--state", join(folder.path, "state")],
  );
  const run = (...words: readonly string[]) => withoutSystemd(words, { BERTHD_SOCKET: broker.socket });
  const repairs = () => broker.log.filter(({ event }) => event === "repaired").map(({ message }) => message);
  const tally: Tally = { answered: 0, refused: 0, cut: 0 };
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
