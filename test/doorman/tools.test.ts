/** The tools that ask real servers see a sleeping one: gamedig in four protocols, and our own player of Teeworlds. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { GameDig } from "gamedig";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { sleepByDatagrams, sleepByStreams } from "../support/doorman/sleeping.ts";

/** How much waiting a loaded machine may need. */
const PATIENCE = { maxRetries: 5, socketTimeout: 10_000, attemptTimeout: 30_000 };

const ask = (type: string, port: number, requestPlayers = false): Promise<unknown> =>
  GameDig.query({ type, host: "127.0.0.1", port, givenPortOnly: true, requestPlayers, ...PATIENCE });

it("gamedig sees a sleeping server of Source, which it asks with a challenge", async () => {
  await using server = await sleepByDatagrams("a2s");
  const state = await ask("protocol-valve", server.port, true);
  expect(state).toMatchObject({
    name: "Frozen Lake",
    map: "lake_one",
    numplayers: 0,
    maxplayers: 24,
    version: "1.2.3",
  });
  expect(server.kinds.length).toBeGreaterThanOrEqual(3); // the info without and with the challenge, the players
  expect(new Set(server.kinds)).toEqual(new Set(["status"]));
});

it("gamedig sees a sleeping server of Quake III", async () => {
  await using server = await sleepByDatagrams("quake3");
  const state = await ask("protocol-quake3", server.port);
  expect(state).toMatchObject({ name: "Frozen Lake", map: "lake_one", numplayers: 0, version: "1.2.3" });
  expect(Number(Object.entries(Object(state)).find(([key]) => key === "maxplayers")?.[1])).toBe(24);
  expect(new Set(server.kinds)).toEqual(new Set(["status"]));
});

it("gamedig sees a sleeping server of Minecraft Java", async () => {
  await using server = await sleepByStreams("starting");
  const state = await ask("protocol-minecraftvanilla", server.port);
  expect(state).toMatchObject({ numplayers: 0, maxplayers: 24, raw: { description: { text: "Frozen Lake" } } });
  expect(server.kinds).toEqual(["status"]);
});

it("gamedig sees a sleeping server of Minecraft Bedrock", async () => {
  await using server = await sleepByDatagrams("bedrock");
  const state = await ask("protocol-minecraftbedrock", server.port);
  expect(state).toMatchObject({
    name: "Frozen Lake",
    map: "lake_one",
    numplayers: 0,
    maxplayers: 24,
    version: "1.2.3",
  });
  expect(new Set(server.kinds)).toEqual(new Set(["status"]));
});

it("a client that a real server of Teeworlds answers gets the name from a sleeping one", async () => {
  await using server = await sleepByDatagrams("teeworlds");
  const player = join(packageRoot, "test/fixtures/teeworlds-player.py");
  const { stdout } = await promisify(execFile)("python3", [player, `${server.port}`], { timeout: 60_000 });
  expect(stdout).toBe("Frozen Lake\n");
  expect(server.kinds).toEqual(["status", "status"]);
});
