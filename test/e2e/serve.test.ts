/** The whole way through: a berth, the built broker, the launcher, and servers that know nothing of berthd. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker } from "../support/broker.ts";
import { isRoot, needs, pathOf } from "../support/needs.ts";
import { connected, datagram, freePort } from "../support/ports.ts";
import { fixtures } from "../support/puppet.ts";

const launchers: [string, readonly string[]][] = [
  ["berth-launch", [launcherPath()]],
  ["berth run", [process.execPath, join(packageRoot, "dist/berth/berth.cjs"), "run"]],
];

/** A server started through a launcher, killed at the end. */
function serve(
  broker: BrokerProcess,
  launcher: readonly string[],
  args: readonly string[],
): ChildProcess & AsyncDisposable {
  const [command = "", ...words] = [...launcher, "--socket", broker.socket, ...args];
  // A descriptor of ours that must not reach the server.
  const child = spawn(command, words, { stdio: ["ignore", "ignore", "inherit", "pipe"] });
  const exited = once(child, "exit");
  const dispose = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
  };
  return Object.assign(child, { [Symbol.asyncDispose]: dispose });
}

/** Puts a fixture where the user that the server becomes may read it: a checkout may be closed to it. */
function copy({ folder }: BrokerProcess, name: string): void {
  folder.write({ [name]: readFileSync(join(fixtures, name), "utf8") });
}

/** All that a server says before it closes. */
async function sayings(port: number): Promise<string> {
  const socket = await connected(port);
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

const field = (status: string, name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
const user = isRoot ? "user = 65534\n" : "";

describe.each(launchers)("through %s", (_, launcher) => {
  it(
    "ports 77 of TCP and UDP are served without any privilege, in the launcher's process (needs root, for such ports)",
    needs("root"),
    async () => {
      await using broker = await spawnBroker({
        "arena.toml": `
          [sockets.web]
          listen = ["tcp://127.0.0.1:77"]
          [sockets.game]
          listen = ["udp://127.0.0.1:77"]
          [server]
          ${user}`,
      });
      copy(broker, "self-server.py");
      await using server = serve(broker, launcher, [
        "arena",
        "--",
        "/usr/bin/python3",
        join(broker.folder.path, "self-server.py"),
      ]);
      const me = JSON.parse(await sayings(77)) as Record<string, unknown>;
      const status = String(me["status"]);
      expect(me).toMatchObject({
        pid: server.pid,
        forPid: String(server.pid),
        names: ["web", "game"],
        fds: [0, 1, 2, 3, 4],
      });
      expect([field(status, "Uid"), field(status, "Gid"), field(status, "Groups").trim()]).toEqual([
        "65534\t65534\t65534\t65534",
        "65534\t65534\t65534\t65534",
        "65534",
      ]);
      for (const set of ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"])
        expect(field(status, set)).toBe("0".repeat(16));
      expect(field(status, "NoNewPrivs")).toBe("1");
      expect(await datagram(77, "ping")).toBe("echo ping");
    },
  );

  it("a Node server of twenty lines serves on both", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({
      "arena.toml": `[sockets.web]\nlisten = ["tcp://127.0.0.1:${port}"]\n[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}`,
    });
    copy(broker, "node-server.mjs");
    const command = [process.execPath, join(broker.folder.path, "node-server.mjs")];
    await using server = serve(broker, launcher, ["arena", "--", ...command]);
    expect(JSON.parse(await sayings(port))).toMatchObject({ pid: server.pid });
    expect(await datagram(port, "ping")).toBe("echo ping");
  });

  it("systemd-socket-proxyd serves (needs systemd-socket-proxyd)", needs("systemd-socket-proxyd"), async () => {
    const upstream = createServer((client) => client.on("error", () => undefined).end("from upstream")).listen(
      0,
      "127.0.0.1",
    );
    await once(upstream, "listening");
    const address = upstream.address();
    const to = typeof address === "object" ? address?.port : 0;
    const port = await freePort();
    await using broker = await spawnBroker({
      "arena.toml": `[sockets.web]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\ncommand = ["${pathOf("systemd-socket-proxyd")}", "127.0.0.1:${to}"]\n${user}`,
    });
    await using _server = serve(broker, launcher, ["arena"]);
    for (let n = 0; n < 5; n++) expect(await sayings(port)).toBe("from upstream");
    upstream.close();
  });
});

it("a client in Python, written from the protocol, takes a berth and accepts on it", async () => {
  const port = await freePort();
  await using broker = await spawnBroker({ "arena.toml": `[sockets.web]\nlisten = ["tcp://127.0.0.1:${port}"]` });
  const client = spawn("python3", [join(fixtures, "acquire.py"), broker.socket, "arena", "web"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(createInterface(client.stdout), "line");
    expect(await sayings(port)).toBe("hello from python\n");
    const second = spawn("python3", [join(fixtures, "acquire.py"), broker.socket, "arena", "web"], { stdio: "pipe" });
    let said = "";
    second.stderr.on("data", (chunk) => {
      said += chunk;
    });
    expect(await once(second, "close")).toEqual([1, null]);
    expect(said).toContain(`io.berthd.Broker.BerthOccupied: berth arena is taken by pid ${client.pid}`);
  } finally {
    client.kill("SIGKILL");
    await once(client, "exit");
  }
});
