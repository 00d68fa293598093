/** `berth-sdk`, the program: its command line, and three users that share nothing: broker, SDK and server. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native.ts";
import { startBroker } from "../../support/broker.ts";
import { launchServer, needsClient } from "../../support/fleet/sdk.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { Watcher } from "../../support/watcher.ts";
import { asUser, endsWithTest } from "../../support/wrap.ts";

const program = join(packageRoot, "packages/fleet/dist/sdk/main.js");

async function run(...args: readonly string[]): Promise<{ code: unknown; out: string; error: string }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close");
  const [out, error, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, error };
}

it("prints its options and its version, and refuses others with status 100", { timeout: 60_000 }, async () => {
  expect(await run("--help")).toMatchObject({ code: 0, out: expect.stringContaining("--socket PATH"), error: "" });
  expect(await run("--version")).toMatchObject({ code: 0, out: expect.stringMatching(/^berth-sdk \d+\.\d+\.\d+\n$/) });
  const wrong = await run("--colour");
  expect(wrong).toMatchObject({ code: 100, out: "" });
  expect(wrong.error).toMatch(/^berth-sdk: .*--colour.*see berth-sdk --help\n$/);
});

const [SDK, SERVER] = [65_533, 65_534];
const client = needsClient();

describe("without privilege", { ...(client.skip ? client : needs("root", "setpriv")), timeout: 60_000 }, () => {
  it("makes a server of another user ready, and has it stopped", async () => {
    const [game, grpc, http] = [await freePort(), await freePort(), await freePort()];
    await using test = await startBroker({
      "arena.toml": `[sockets.game]
listen = ["udp://127.0.0.1:${game}"]
[server]
user = ${SERVER}
sdk = "agones"
sdk-user = ${SDK}
sdk-grpc-port = ${grpc}
sdk-http-port = ${http}
`,
      "other.toml": `[sockets.game]
listen = ["udp://127.0.0.1:0"]
[server]
sdk = "agones"
`,
    });
    await using watcher = await Watcher.connect(test.socket, 2);
    const [command = "", ...rest] = [...endsWithTest, ...asUser(SDK), process.execPath, program];
    const sdk = spawn(command, [...rest, "--socket", test.socket], { stdio: ["ignore", "inherit", "pipe"] });
    const ended = once(sdk, "exit");
    try {
      const lines = createInterface({ input: sdk.stderr })[Symbol.asyncIterator]();
      // It does not see the other berth, which names no user.
      expect((await lines.next()).value).toBe(
        `berth-sdk: berth arena: serves gRPC on port ${grpc} and REST on port ${http}`,
      );
      await using server = await launchServer({ test, watcher });
      await server.call("ready");
      expect((await watcher.until(({ event }) => event === "ready")).berth).toMatchObject({ ready: true });
      await server.call("shutdown");
      expect(await server.ended).toEqual([null, "SIGTERM"]);
      await watcher.until(({ event }) => event === "released");
      sdk.kill("SIGTERM");
      expect(await ended).toEqual([0, null]);
    } finally {
      sdk.kill("SIGKILL");
      await ended;
    }
  });
});
