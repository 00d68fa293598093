/** A flood of queries from one address starts nothing, makes no doorman late, and keeps no player who joins out. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import { ask, berth, client, getstatus, join3, ready } from "../../support/doorman/doors.ts";
import { joins, queries } from "../../support/doorman/scans.ts";
import { leaksNothing } from "../../support/fds.ts";
import { freePort } from "../../support/ports.ts";
import { fixtures } from "../../support/puppet.ts";
import { startingBroker } from "../../support/starting-broker.ts";

leaksNothing("soon");

const RATE = 20_000;

/** `seconds` of it have passed once this resolves. */
async function flood(port: number, packet: Buffer, seconds: number) {
  const program = ["-S", join(fixtures, "datagram-flood.py"), String(port), String(RATE), packet.toString("hex")];
  const child = spawn("/usr/bin/python3", program, { stdio: ["ignore", "pipe", "inherit"] });
  const rates: number[] = [];
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => rates.push(Number(line)));
  while (rates.length < seconds) await once(lines, "line");
  const end = async (): Promise<void> => {
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  };
  return { rates, [Symbol.asyncDispose]: end };
}

describe("a flood of queries", { timeout: 120_000 }, () => {
  it.each([
    { protocol: "quake3", query: getstatus, knock: join3 },
    {
      protocol: "a2s",
      query: queries["A2S info with a challenge"]?.bytes ?? getstatus,
      knock: joins["Source 2013"]?.bytes ?? join3,
    },
  ])("$protocol: starts nothing, and a join amid it starts the server", async ({ protocol, query, knock }) => {
    const port = await freePort();
    const file = berth([`udp://127.0.0.1:${port}`], `asleep = "${protocol}"\n`);
    await using broker = await startingBroker({ "arena.toml": file });
    const pid = await ready();
    expect(await ask(port, query)).not.toBe("");
    await using flooding = await flood(port, query, 2);
    // The doorman leaves the berth in time, or it would be killed and any packet would start the server.
    const other = await freePort();
    broker.folder.write({ "config/arena.toml": file.replaceAll(`:${port}"`, `:${other}"`) });
    const began = performance.now();
    await broker.broker.reloadInSlices();
    const late = performance.now() - began;
    broker.folder.write({ "config/arena.toml": file });
    await broker.broker.reloadInSlices();
    expect(broker.log.filter(({ event }) => event === "doorman")).toEqual([]);
    expect(await ready()).toBe(pid);
    // What was reloaded is an event.
    expect(broker.watcher.names().filter((name) => name !== "changed")).toEqual([]);
    const udp = await client(port);
    const again = setInterval(() => udp.send(knock), 100);
    const asked = performance.now();
    await broker.watcher.count("acquired", 1);
    clearInterval(again);
    udp.close();
    const woken = performance.now() - asked;
    const rate = Math.round(flooding.rates.reduce((sum, one) => sum + one, 0) / flooding.rates.length);
    console.log(
      `${protocol}: ${rate} queries a second: 0 starts; reloaded in ${Math.round(late)} ms, woken in ${Math.round(woken)} ms`,
    );
  });
});
