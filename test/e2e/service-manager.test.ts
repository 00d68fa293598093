/** What systemd and berthd tell each other: sockets passed to it, notifications from it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { RawPeer } from "../support/peer.ts";
import { fixtures } from "../support/puppet.ts";

const config = { "config/a.toml": '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n' };

/** A process whose lines are waited for; killed at the end. */
class Talker implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #exited: Promise<unknown[]>;
  readonly #lines: AsyncIterableIterator<string>;

  constructor(command: readonly string[], env: NodeJS.ProcessEnv = {}, stream: "stdout" | "stderr" = "stderr") {
    const [program = "", ...args] = command;
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    this.#exited = once(this.child, "exit");
    const output = this.child[stream];
    if (output === null) throw new Error("no output");
    this.#lines = createInterface(output)[Symbol.asyncIterator]();
  }

  /** The next line that matches. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`ended without a line like ${pattern}`);
      if (pattern.test(value)) return value;
    }
  }

  exit(): Promise<unknown[]> {
    return this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#exited;
  }
}

const berthd = (folder: TestFolder, root: string = packageRoot): string[] => [
  process.execPath,
  join(root, "dist/cli/berthd.js"),
  "--config",
  join(folder.path, "config"),
];

describe("notifications to the service manager", () => {
  it.each(["a path", "an abstract name"])("READY, RELOADING with READY, and STOPPING arrive on %s", async (kind) => {
    using folder = new TestFolder(config);
    const address = kind === "a path" ? join(folder.path, "notify") : `@${folder.path}`;
    await using manager = new Talker(["python3", join(fixtures, "notify-socket.py"), address], {}, "stdout");
    await manager.line(/listening/);
    const socket = join(folder.path, "s");
    await using broker = new Talker([...berthd(folder), "--socket", socket], { NOTIFY_SOCKET: address });
    expect(await manager.line(/./)).toBe(
      JSON.stringify(`READY=1\nMAINPID=${broker.child.pid}\nSTATUS=1 berth, 0 taken`),
    );
    broker.child.kill("SIGHUP");
    expect(JSON.parse(await manager.line(/./))).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+\n/);
    expect(JSON.parse(await manager.line(/./))).toMatch(/^READY=1\n/);
    folder.write({ "config/b.toml": "nonsense" });
    broker.child.kill("SIGHUP");
    expect(JSON.parse(await manager.line(/./))).toMatch(/^RELOADING=1\n/);
    expect(JSON.parse(await manager.line(/./))).toMatch(
      /^READY=1\nSTATUS=1 berth, 0 taken; the configuration on disk is not the one in force: the last reload was refused$/,
    );
    broker.child.kill("SIGTERM");
    expect(JSON.parse(await manager.line(/./))).toBe("STOPPING=1\nSTATUS=stopping");
    expect(await broker.exit()).toEqual([0, null]);
  });

  it("nobody there to hear them hinders nothing", async () => {
    using folder = new TestFolder(config);
    const socket = join(folder.path, "s");
    await using broker = new Talker([...berthd(folder), "--socket", socket], {
      NOTIFY_SOCKET: join(folder.path, "nobody"),
    });
    await broker.line(/ready: /);
    await broker.line(/cannot notify .*nobody/);
    using peer = await RawPeer.connect(socket);
    expect((await peer.call("List"))?.parameters["berths"]).toHaveLength(1);
  });

  it("without unix-dgram it is told all the same", async () => {
    using folder = new TestFolder(config);
    const root = join(folder.path, "package");
    mkdirSync(join(root, "node_modules"), { recursive: true });
    cpSync(join(packageRoot, "dist"), join(root, "dist"), { recursive: true });
    cpSync(join(packageRoot, "package.json"), join(root, "package.json"));
    symlinkSync(join(packageRoot, "build"), join(root, "build"));
    for (const name of readdirSync(join(packageRoot, "node_modules"))) {
      if (name !== "unix-dgram") symlinkSync(join(packageRoot, "node_modules", name), join(root, "node_modules", name));
    }
    const socket = join(folder.path, "s");
    const address = join(folder.path, "notify");
    await using manager = new Talker(["python3", join(fixtures, "notify-socket.py"), address], {}, "stdout");
    await manager.line(/listening/);
    await using broker = new Talker([...berthd(folder, root), "--socket", socket], { NOTIFY_SOCKET: address });
    expect(await broker.line(/./)).toMatch(/ready: 1 berth, /);
    expect(JSON.parse(await manager.line(/./))).toMatch(/^READY=1\n/);
    broker.child.kill("SIGHUP");
    expect(JSON.parse(await manager.line(/./))).toMatch(/^RELOADING=1\n/);
  });
});

describe("a control socket that the service manager passed", () => {
  it("is served, and left where it is at the end", async () => {
    using folder = new TestFolder(config);
    const socket = join(folder.path, "activated");
    await using broker = new Talker(["python3", join(fixtures, "activate.py"), socket, ...berthd(folder)]);
    await broker.line(/ready: 1 berth, 0 taken, on the socket it was given/);
    {
      using peer = await RawPeer.connect(socket);
      expect((await peer.call("Acquire", { berth: "a" }))?.error).toBeUndefined();
      expect(peer.fds).toHaveLength(1);
    }
    broker.child.kill("SIGTERM");
    expect(await broker.exit()).toEqual([0, null]);
    expect(readdirSync(folder.path)).toContain("activated");
  });
});
