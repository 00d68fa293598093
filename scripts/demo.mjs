/**
 * What `npm start` runs: a broker with the examples' configuration in a folder of its own, the example server on the
 * berth `echo`, and the status page on the berth `web`. Everything ends with {@link Demo#stop}: the processes it
 * started, and the folder.
 */
import { spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, Sentence } from "./prepare.mjs";

const berth = join(root, "dist/berth/berth.cjs");
const page = join(root, "packages/web/dist/server/main.js");
const NOBODY = 65534;
const HOST = "127.0.0.1";
/** As in examples/web.toml. */
const WEB_PORT = 9115;
/** Milliseconds that starting, answering or ending may take. */
export const PATIENCE = 60_000;

export class Demo {
  /** The user the server runs as. */
  uid = process.getuid();
  /** Sentences for the user: what differs from the usual here. */
  notes = [];
  #folder;
  #node = process.execPath;
  #children = new Set();
  #isStopped = false;

  /** Starts the broker, and waits until it answers. */
  static async start() {
    const demo = new Demo();
    try {
      await demo.#start();
      return demo;
    } catch (error) {
      await demo.stop();
      throw error;
    }
  }

  get socket() {
    return join(this.#folder, "berthd.sock");
  }

  /** What lies below the root of the berth `vault`. */
  get image() {
    return join(this.#folder, "image");
  }

  /** Where what its tenants write goes. */
  get upper() {
    return join(this.#folder, "state/roots/vault/upper");
  }

  async #start() {
    this.#folder = this.#makeFolder();
    // The server reads its program here, as a user that may have no way into the clone.
    chmodSync(this.#folder, 0o755);
    copyFileSync(join(root, "examples/echo-server.mjs"), join(this.#folder, "echo-server.mjs"));
    if (this.uid === 0) this.#prepareNobody();
    cpSync(join(root, "examples/vault"), this.image, { recursive: true });
    this.port = await this.#choosePort();
    this.#writeConfiguration();
    await this.#writePage();
    const config = ["--config", join(root, "examples/demo"), "--config", join(this.#folder, "config")];
    // It may see every berth, and take none.
    const rest = ["--state", join(this.#folder, "state"), "--socket", this.socket, "--observer", String(this.uid)];
    this.broker = this.#spawn("broker", join(root, "dist/cli/berthd.js"), [...config, ...rest]);
    await this.#untilReady();
  }

  #makeFolder() {
    try {
      return mkdtempSync(join(tmpdir(), "berthd-demo-"));
    } catch (error) {
      throw new Sentence(
        `no folder can be made in ${tmpdir()}: ${error.message}; name another one: TMPDIR=/var/tmp npm start`,
      );
    }
  }

  #prepareNobody() {
    this.uid = NOBODY;
    const works = spawnSync(this.#node, ["--version"], { uid: NOBODY, gid: NOBODY, cwd: this.#folder }).status === 0;
    if (works) return;
    const copy = join(this.#folder, "node");
    copyFileSync(this.#node, copy);
    chmodSync(copy, 0o755);
    this.#node = copy;
  }

  /** 77 as root, to show a port that needs privilege; else the example's own; else one that is free. */
  async #choosePort() {
    const wanted = process.getuid() === 0 ? 77 : 27960;
    if (await isFree(wanted)) return wanted;
    for (let tries = 0; tries < 20; tries++) {
      const port = await freePort();
      if (await isFree(port)) {
        this.notes.push(`port ${wanted} is in use here, so the server has ${port}`);
        return port;
      }
    }
    throw new Sentence(`no port of ${HOST} is free for both TCP and UDP; end a program that has many`);
  }

  /** Drop-ins over examples/demo: the port, the paths, and the users if there is privilege to give up. */
  #writeConfiguration() {
    const isRoot = process.getuid() === 0;
    const command = JSON.stringify([this.#node, join(this.#folder, "echo-server.mjs")]);
    this.#writeDropIn(
      "echo",
      `[sockets]\nchat.listen = ["tcp://${HOST}:${this.port}"]\ngame.listen = ["udp://${HOST}:${this.port}"]\n\n[server]\ncommand = ${command}\n${isRoot ? `user = ${NOBODY}\n` : ""}`,
    );
    this.#writeDropIn("vault", `[root]\nimage = "${this.image}"\n${isRoot ? '[server]\nuser = "range"\n' : ""}`);
  }

  /** The berth of the status page. There is none where its user has no way into the clone. */
  async #writePage() {
    const nobody = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    const reads = spawnSync(this.#node, [page, "--version"], { ...nobody, cwd: this.#folder });
    if (reads.status !== 0) {
      this.notes.push(`no status page: uid ${this.uid} cannot read ${page}`);
      return;
    }
    this.webPort = (await isFree(WEB_PORT)) ? WEB_PORT : await freePort();
    if (this.webPort !== WEB_PORT) {
      this.notes.push(`port ${WEB_PORT} is in use here, so the status page has ${this.webPort}`);
    }
    const state = join(this.#folder, "web");
    mkdirSync(state);
    if (process.getuid() === 0) chownSync(state, NOBODY, NOBODY);
    const command = [this.#node, page, "--socket", this.socket, "--history", join(state, "history.db")];
    const user = process.getuid() === 0 ? `user = ${NOBODY}\n` : "";
    writeFileSync(
      join(this.#folder, "config/web.toml"),
      `[sockets.http]\nlisten = ["tcp://${HOST}:${this.webPort}"]\n\n[server]\ncommand = ${JSON.stringify(command)}\n${user}`,
    );
  }

  /** Where the status page is. Undefined where there is none. */
  get webAddress() {
    return this.webPort === undefined ? undefined : `http://${HOST}:${this.webPort}/`;
  }

  /** Starts the status page: `berth run web`. */
  launchPage() {
    if (this.webPort !== undefined) this.#spawn("web", berth, ["run", "--socket", this.socket, "web"]);
  }

  #writeDropIn(name, text) {
    const folder = join(this.#folder, `config/${name}.toml.d`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "50-npm-start.toml"), text);
  }

  async #untilReady() {
    const { connect } = await import("../dist/client/connect.js");
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      if (this.broker.exitCode !== null) throw new Sentence(`the broker ended at once:\n${this.log("broker")}`);
      try {
        (await connect({ socket: this.socket })).close();
        return;
      } catch (error) {
        if (performance.now() > deadline) throw new Sentence(`${error.message}\n${this.log("broker")}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** Starts the example server: `berth run echo`. The child's pid is the launcher's, and then the server's. */
  launch() {
    return this.#spawn("server", berth, ["run", "--socket", this.socket, "echo"]);
  }

  /** Runs a command on a berth to its end, and gives what it printed. */
  async output(name, command) {
    const child = this.#spawn("command", berth, ["run", "--socket", this.socket, name, "--", ...command], "pipe");
    const chunks = [];
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    await once(child, "close", { signal: AbortSignal.timeout(PATIENCE) });
    if (child.exitCode !== 0)
      throw new Sentence(`\`berth run ${name} -- ${command.join(" ")}\` failed: ${this.log("command")}`);
    return Buffer.concat(chunks).toString();
  }

  /** What the broker, the server or a command wrote to standard error. */
  log(what) {
    return readFileSync(join(this.#folder, `${what}.log`), "utf8").trimEnd();
  }

  #spawn(what, program, args, stdout) {
    if (this.#isStopped) throw new Sentence("the demo has been stopped");
    const log = openSync(join(this.#folder, `${what}.log`), "a");
    // A session of their own: Ctrl-C is ours to act on, in order.
    const child = spawn(process.execPath, [program, ...args], {
      cwd: this.#folder,
      detached: true,
      stdio: ["ignore", stdout ?? log, log],
    });
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    return child;
  }

  /** Ends what runs, newest first, and removes the folder. */
  async stop() {
    this.#isStopped = true;
    for (const child of [...this.#children].reverse()) await end(child);
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Asks a child to end; one that has not after 3 seconds is made to. */
async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), 3000);
  await closed;
  clearTimeout(force);
}

/** Whether both TCP and UDP of a port could be bound. */
async function isFree(port) {
  const server = createServer();
  const socket = createSocket("udp4");
  try {
    server.listen(port, HOST);
    await once(server, "listening");
    socket.bind(port, HOST);
    await once(socket, "listening");
    return true;
  } catch {
    return false;
  } finally {
    await Promise.all([closed(server), closed(socket)]);
  }
}

async function freePort() {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address();
  await closed(server);
  return port;
}

function closed(server) {
  return new Promise((resolve) => server.close(resolve));
}
