/** A server that binds its address again: it must not be able to tell from what happens without a broker. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, copyFixture, inodesAt, linesOf, NOBODY, run } from "./harness.ts";

const folder = new TestFolder();
let broker: BrokerProcess;
let script: string;
let port: number;

beforeAll(async () => {
  script = copyFixture(folder, "further-binds.py");
  port = await freePort();
  broker = await spawnBroker({ "a.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) });
});

afterAll(async () => {
  await broker?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** What the fixture says without a broker. */
async function plainly(mode: string): Promise<string[]> {
  const ids = { uid: NOBODY, gid: NOBODY };
  const text = execFileSync("python3", [script, mode, String(await freePort())], { ...ids, encoding: "utf8" });
  return text.trimEnd().split("\n");
}

describe("a server under bind delivery that binds again", needs("root"), () => {
  test.each([
    ["after it closed its socket, which was connected, shut down, filtered, or in a group", "anew"],
    ["while it has the socket", "live"],
    ["a socket for one player, which it connects: the others are not cut off", "dtls"],
    ["while a child has the socket, and after", "forked"],
  ])("sees what it would without a broker: %s", async (_, mode) => {
    const plain = await plainly(mode);
    expect(await linesOf(broker, "a", ["python3", script, mode, String(port)])).toEqual(plain);
  });

  it("keeps what has queued while it had no socket", async () => {
    const rebind = copyFixture(folder, "rebind.py");
    await using server = run(broker, "a", ["python3", "-u", rebind, String(port)]);
    server.child.stdin?.write("\n\n");
    expect(new Set(await server.said(2))).toEqual(new Set(inodesAt("udp", port)));
  });
});
