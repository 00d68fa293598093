/**
 * The recipes of docs/recipes.md for packages that berthd does not depend on: installed from npm's registry, run as
 * they stand, and asked. The others are run by library.test.ts.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { npmEnv } from "../support/npm.ts";
import { RawPeer } from "../support/peer.ts";
import { endsWithTest } from "../support/wrap.ts";
import { blocks, read, section } from "./markdown.ts";

const PACKAGES = ["express@5", "fastify@5", "ws@8"];
const page = read("docs/recipes.md");

const FETCH = 'console.log(await (await fetch("http://127.0.0.1:" + process.argv[2] + "/")).text()); process.exit();';

/** Programs that print what a client gets from the server at a port. */
const CLIENTS: Readonly<Record<string, string>> = {
  Express: FETCH,
  Fastify: FETCH,
  ws: `import { WebSocket } from "ws";
const player = new WebSocket("ws://127.0.0.1:" + process.argv[2] + "/");
player.on("message", (text) => { console.log(String(text)); process.exit(); });
player.on("error", (error) => { throw error; });`,
};

/** Why the packages cannot be installed, as `needs` tells what is missing. */
function registry(): object {
  // npm's own cache may know the package while the registry is away.
  using cache = new TestFolder();
  const quick = [`--cache=${cache.path}`, "--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-timeout=20000"];
  const { status } = spawnSync("npm", ["view", "ws@8", "name", ...quick], {
    stdio: "ignore",
    env: npmEnv,
    timeout: 60_000,
  });
  return status === 0 ? {} : { skip: true, meta: { needs: "needs npm's registry, which cannot be reached" } };
}

describe("a recipe", registry(), () => {
  let folder: TestFolder;
  let broker: BrokerProcess;

  beforeAll(async () => {
    folder = new TestFolder({ "package.json": "{}" });
    const quiet = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--silent"];
    execFileSync("npm", ["install", ...quiet, ...PACKAGES], {
      cwd: folder.path,
      stdio: "inherit",
      env: npmEnv,
      timeout: 110_000, // the hook's own limit cannot end a call that blocks
    });
    mkdirSync(join(folder.path, "node_modules"), { recursive: true });
    symlinkSync(packageRoot, join(folder.path, "node_modules/berthd"));
    broker = await spawnBroker({
      "arena@bob.toml": '[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n',
      "arena@.toml": "",
    });
  }, 120_000);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    folder?.[Symbol.dispose]();
  });

  async function arena(): Promise<{ state: string; descriptors: { address: string }[] } | undefined> {
    using peer = await RawPeer.connect(broker.socket);
    return ((await peer.call("List"))?.parameters["berths"] as never[] | undefined)?.[0];
  }

  test.each(Object.keys(CLIENTS))("for %s serves on the berth's socket", async (name) => {
    const [code = "", ...more] = blocks(section(page, `### ${name}`), "js");
    expect(more).toEqual([]);
    folder.write({ "server.mjs": code, "client.mjs": CLIENTS[name] ?? "" });
    await expect.poll(async () => (await arena())?.state).toBe("vacant");
    const port = new URL((await arena())?.descriptors[0]?.address ?? "").port;
    const [first = "", ...rest] = [...endsWithTest, process.execPath, join(folder.path, "server.mjs")];
    const server = spawn(first, rest, {
      env: { ...process.env, BERTHD_SOCKET: broker.socket },
      stdio: ["ignore", "inherit", "inherit"],
    });
    const exited = once(server, "exit");
    try {
      // The connection waits in the socket's queue until the server is there.
      const client = [join(folder.path, "client.mjs"), port];
      expect(execFileSync(process.execPath, client, { encoding: "utf8", timeout: 60_000 })).toBe("hello\n");
      expect((await arena())?.state).toBe("occupied");
    } finally {
      server.kill("SIGKILL");
      await exited;
    }
  });
});
