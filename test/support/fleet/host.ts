/** A host of a fleet: a broker and the built `berth-fleet agent`, on loopback. Its tests need etcd and root. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type BerthRecord, connect } from "../../../src/index.ts";
import { packageRoot } from "../../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../broker.ts";
import { freePort } from "../ports.ts";
import { endsWithTest } from "../wrap.ts";

const fleetProgram: string = join(packageRoot, "packages/fleet/dist/cli/main.js");

/** The command line of `berth-fleet`, which is killed when the test's process ends. For spawn. */
export function fleetCommand(...args: readonly string[]): [command: string, args: string[]] {
  const [command = "", ...rest] = [...endsWithTest, process.execPath, fleetProgram, ...args];
  return [command, rest];
}

/** Options of an agent: so many ports that are free, for berths that leave the choice to the fleet. */
export async function freePools(count: number): Promise<string[]> {
  const ports = await Promise.all(Array.from({ length: count }, freePort));
  return ports.flatMap((port) => ["--ports", String(port)]);
}

/** The file of a set whose servers do nothing, with one TCP port each. `more`: keys of the set. */
export const sleepers = (name: string, more = ""): string => `name = "${name}"
${more}
[berth.sockets.game]
listen = ["tcp://127.0.0.1:0"]
[berth.server]
command = ["sleep", "600"]
user = "root"
`;

/** Seconds: short, so that tests see what happens after. */
export const TTL = 4;
export const MARGIN = 1;

export class TestHost implements AsyncDisposable {
  readonly name: string;
  readonly #etcd: string;
  readonly #folder = new TestFolder();
  readonly #options: readonly string[];
  #broker: BrokerProcess | undefined;
  #agent: ChildProcess | undefined;
  #log = "";
  #frozen: readonly number[] = [];
  #frozenServers: readonly number[] = [];

  private constructor(name: string, etcd: string, options: readonly string[]) {
    this.name = name;
    this.#etcd = etcd;
    this.#options = options;
  }

  /** Ready when the agent has its lease. */
  static async start(name: string, etcd: string, ...options: readonly string[]): Promise<TestHost> {
    const host = new TestHost(name, etcd, options);
    host.#folder.write({ "berths/.keep": "", "state/.keep": "" });
    const { path } = host.#folder;
    host.#broker = await spawnBroker({}, ["--config", join(path, "berths"), "--state", join(path, "state")]);
    await host.startAgent();
    return host;
  }

  async startAgent(): Promise<void> {
    const [command, args] = fleetCommand(
      ...["agent", "--name", this.name],
      ...["--etcd", this.#etcd, "--insecure", "--allow-user", "root", "--allow-key", "root.image"],
      ...["--folder", join(this.#folder.path, "berths"), "--socket", this.socket, "--address", "127.0.0.1"],
      ...["--ttl", String(TTL), "--margin", String(MARGIN), ...this.#options],
    );
    const agent = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.#agent = agent;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      agent.stderr.on("data", (chunk) => {
        log += chunk;
        this.#log += chunk;
        if (log.includes("the lease is held")) resolve();
      });
      agent.once("close", () => reject(new Error(`the agent of ${this.name} has ended:\n${log}`)));
    });
  }

  /** What its agents have written. */
  get log(): string {
    return this.#log;
  }

  get socket(): string {
    return this.#broker?.socket ?? "";
  }

  /** By name: the process that serves, or undefined. */
  async servers(): Promise<Map<string, number | undefined>> {
    return new Map((await this.berths()).map(({ name, lease }) => [name, lease?.pid]));
  }

  async berths(): Promise<readonly BerthRecord[]> {
    using client = await connect({ socket: this.socket });
    return await client.berths();
  }

  /** A berth file that is not the fleet's. */
  async addBerth(name: string, toml: string): Promise<void> {
    this.#folder.write({ [`berths/${name}.toml`]: toml });
    await this.#reload();
  }

  async removeBerth(name: string): Promise<void> {
    rmSync(join(this.#folder.path, "berths", `${name}.toml`));
    await this.#reload();
  }

  async #reload(): Promise<void> {
    using client = await connect({ socket: this.socket });
    (await client.call("io.berthd.Broker.Reload", {}))[Symbol.dispose]();
  }

  /** Resolves with its exit status and the signal that ended it; undefined: none runs. */
  async killAgent(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<unknown> {
    const agent = this.#agent;
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return undefined;
    const closed = once(agent, "close");
    agent.kill(signal);
    return await closed;
  }

  /** A file below the state folder of its broker. */
  stateFile(...parts: readonly string[]): string {
    return join(this.#folder.path, "state", ...parts);
  }

  /** SIGSTOP to its agent, its broker and its servers, which are then still; as a host that is paused. */
  async freeze(): Promise<void> {
    const servers = [...(await this.servers()).values()];
    this.#frozen = [this.#agent?.pid, this.#broker?.pid, ...servers].filter((pid) => pid !== undefined);
    for (const pid of this.#frozen) process.kill(pid, "SIGSTOP");
    this.#frozenServers = servers.filter((pid) => pid !== undefined);
  }

  /** SIGCONT to the servers, as where they are the first that the kernel lets run. */
  thawServers(): void {
    for (const pid of this.#frozenServers) process.kill(pid, "SIGCONT");
  }

  /** SIGCONT to its agent and its broker. */
  thaw(): void {
    for (const pid of this.#frozen) if (!this.#frozenServers.includes(pid)) process.kill(pid, "SIGCONT");
    this.#frozen = [];
  }

  /** Also of the servers, which would go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.thaw();
    await this.killAgent();
    if (this.#broker !== undefined) {
      using client = await connect({ socket: this.socket });
      for (const { name, lease } of await client.berths()) {
        if (lease) (await client.call("io.berthd.Broker.Stop", { berth: name }))[Symbol.dispose]();
      }
      await this.#broker[Symbol.asyncDispose]();
    }
    this.#folder[Symbol.dispose]();
  }
}

/** Runs `berth-fleet` to its end. `etcd` undefined: nothing names an address of etcd. */
export async function runFleet(etcd: string | undefined, ...args: readonly string[]) {
  const where = etcd === undefined ? [] : ["--etcd", etcd];
  const { BERTH_FLEET_ETCD: _, ...env } = process.env;
  const child = spawn(process.execPath, [fleetProgram, ...args, ...where], { env, stdio: ["ignore", "pipe", "pipe"] });
  const both = Promise.all([text(child.stdout), text(child.stderr)]);
  await once(child, "close");
  const [out, err] = await both;
  return { code: child.exitCode, out, err };
}
