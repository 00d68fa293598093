/** Two of the rounds of `npm run fleet:rounds`, with real agents and brokers in network namespaces. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { needs } from "../support/needs.ts";
import { endsWithTest } from "../support/wrap.ts";

/** Runs the script to its end; what it printed. */
async function rounds(...options: readonly string[]): Promise<string> {
  const script = join(packageRoot, "scripts/fleet-rounds.mjs");
  const [command = "", ...args] = [...endsWithTest, process.execPath, script, ...options];
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, BERTHD_SKIP_BUILD: "1" },
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  expect([child.exitCode, err]).toEqual([0, ""]);
  return out;
}

it("a host killed, etcd's leader killed and the network cut: no port, berth or allocation twice, and all serves again", {
  ...needs("etcd", "ip", "nsenter", "root", "setpriv", "unshare"),
  timeout: 600_000,
}, async () => {
  const out = await rounds("--rounds", "2", "--ttl", "2", "--berths", "40", "--allocations", "100");
  expect(out).toMatch(/^40 berths placed by 8 clients in .*, and 100 allocations in .*: 0 wrong$/m);
  expect(out).toMatch(/^a host killed: 2 berths serve elsewhere after [\d.]+ s \(lease 2 s, margin 1 s\), 1 stay$/m);
  expect(out).toMatch(/^round 1: the leader of etcd is killed; /m);
  expect(out).toMatch(/^round 2: the network is cut, the leader and two hosts on the smaller side; /m);
  expect(out).toMatch(/^2 rounds: \d+ placements, .* starts, .*: 0 wrong$/m);
});
