/** A host of a fleet on a node of its own: a real broker and a real agent, with a folder. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../dist/index.js";
import { root } from "../prepare.mjs";
import { Service } from "./world.mjs";

const berthd = join(root, "dist/cli/berthd.js");
export const berthFleet = join(root, "packages/fleet/dist/cli/main.js");

export class Host {
  #options;
  #env;
  #frozen = [];

  /** `options`: more of `berth-fleet agent`. `env`: of its broker and its agent, and so of its servers. */
  constructor(node, folder, options, env = {}) {
    this.node = node;
    this.name = node.name;
    this.#options = options;
    this.#env = env;
    this.berthsFolder = join(folder, node.name, "berths");
    this.stateFolder = join(folder, node.name, "state");
    this.socket = join(folder, node.name, "broker.sock");
    for (const path of [this.berthsFolder, this.stateFolder]) mkdirSync(path, { recursive: true });
  }

  /** Resolves when the agent has its lease. */
  async start() {
    const broker = ["--config", this.berthsFolder, "--state", this.stateFolder, "--socket", this.socket];
    this.broker = new Service([...this.node.wrap, process.execPath, berthd, ...broker], this.#env);
    await this.broker.says("ready: ");
    await this.startAgent();
  }

  async startAgent() {
    const own = [
      "--insecure",
      "--allow-user",
      "root",
      "--name",
      this.name,
      "--folder",
      this.berthsFolder,
      "--socket",
      this.socket,
    ];
    const options = [...own, "--address", this.node.address, ...this.#options];
    this.agent = new Service([...this.node.wrap, process.execPath, berthFleet, "agent", ...options], this.#env);
    await this.agent.says("the lease is held");
  }

  async berths() {
    const client = await connect({ socket: this.socket });
    try {
      return await client.berths();
    } finally {
      client.close();
    }
  }

  async #servers() {
    return (await this.berths()).flatMap(({ lease }) => lease?.pid ?? []);
  }

  /** SIGKILL to its agent, its broker and its servers, as where a machine loses its power. */
  async kill() {
    const servers = await this.#servers();
    await Promise.all([this.agent.kill(), this.broker.kill()]);
    for (const pid of servers) signal(pid, "SIGKILL");
  }

  /** SIGSTOP to its agent, its broker and its servers, as where a machine is paused. */
  async freeze() {
    this.#frozen = [this.agent.pid, this.broker.pid, ...(await this.#servers())];
    for (const pid of this.#frozen) signal(pid, "SIGSTOP");
  }

  /** The servers run before the broker and the agent do. */
  thaw() {
    for (const pid of this.#frozen.reverse()) signal(pid, "SIGCONT");
    this.#frozen = [];
  }
}

/** To a process that may have ended. */
function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
