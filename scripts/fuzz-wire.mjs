/**
 * `node scripts/fuzz-wire.mjs [--seconds 60] [--seed N] [--skip KIND,…]`: sends a broker broken calls, with descriptors
 * of every kind at every byte, as a user that may take no berth and as a tenant. After each burst the broker has to
 * answer, and to have no more open, nor much more memory, than before. Needs root and gcc. The seed it prints repeats
 * what it sent.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const [STRANGER, TENANT] = [65533, 65534];
/** Milliseconds in which the broker has to answer, and to have closed and freed what a burst had left. */
const [ANSWER_MS, SETTLE_MS] = [2000, 10_000];
/** V8 gives back what it has used when it likes. */
const MEMORY_KIB = 64 * 1024;
const SENDS = 400;

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { seconds: { type: "string" }, seed: { type: "string" }, skip: { type: "string" } },
});
const skipped = new Set(values.skip?.split(","));
const seconds = Number(values.seconds ?? 60);
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);

/** Numbers below `n`, the same ones for the same seed (mulberry32). */
function randomFrom(start) {
  let state = start;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const random = randomFrom(seed);
const pick = (list) => list[random(list.length)];

const call = (method, parameters, flags = {}) => JSON.stringify({ method, parameters, ...flags });
const broker = (method, parameters, flags) => call(`io.berthd.Broker.${method}`, parameters, flags);

/** Calls as a client makes them. `lease` is the tenant's. */
function calls(lease) {
  return [
    call("org.varlink.service.GetInfo"),
    call("org.varlink.service.GetInterfaceDescription", { interface: "io.berthd.Broker" }),
    call("io.berthd.Succession.TakeOver", {}, { more: true }),
    broker("List", {}),
    broker("List", {}, { oneway: true }),
    broker("Acquire", { berth: "prey", replace: "try" }),
    broker("Acquire", { berth: "bystander" }),
    broker("Stash", { lease, name: "player" }),
    broker("Stash", { lease, name: "" }),
    broker("Ready", { lease }),
    broker("Release", { lease: "x" }),
    broker("Launch", { berth: "prey", command: ["/bin/true"], environment: { A: "1" } }),
    broker("Intercept", { lease }),
    broker("Watch", {}, { more: true }),
  ];
}

/** What becomes of a call: mostly something is wrong with it. */
function mutate(text) {
  let bytes = Buffer.from(`${text}\0`);
  for (let times = random(4); times > 0; times--) {
    const at = random(bytes.length);
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
    const inserted = () => Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256)));
    bytes = pick([
      () => Buffer.concat([head, tail.subarray(1)]),
      () => Buffer.concat([head, inserted(), tail]),
      () => Buffer.concat([head, Buffer.from(pick(["[", "{", '"', "\\u0000", "1e999", "null", "\0", ","])), tail]),
      () => Buffer.concat([head, Buffer.from("[".repeat(1 + random(2000))), tail]),
      () => Buffer.concat([bytes, bytes]),
      () => Buffer.concat([head, Buffer.alloc(random(20_000), 32), tail]),
      () => Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ (1 << random(8)) : byte))),
      () => head,
    ])();
    if (bytes.length === 0) bytes = Buffer.from("\0");
  }
  return bytes;
}

/** A program of the attacks' that takes lines and answers each with one. */
class Program {
  #child;
  #lines;

  constructor(path, args) {
    this.#child = spawn(path, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async next() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("an attacker has ended");
    return value;
  }

  /** Does all the lines; what was answered to each. */
  async do(...lines) {
    this.#child.stdin.write(lines.map((line) => `${line}\n`).join(""));
    const answers = [];
    for (const _ of lines) answers.push(await this.next());
    return answers;
  }

  kill() {
    this.#child.kill("SIGKILL");
  }
}

function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return "(closed)";
  }
}

/** The broker, in a process of its own, as root. */
class Target {
  #child;
  #log = [];
  #ready;

  constructor(folder) {
    mkdirSync(join(folder, "config"));
    const users = (uid) =>
      `[sockets.game]\nlisten = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]\n[tenant]\nusers = [${uid}]\n`;
    writeFileSync(join(folder, "config/prey.toml"), users(TENANT));
    writeFileSync(join(folder, "config/bystander.toml"), users(0));
    this.socket = join(folder, "socket");
    const args = ["--config", join(folder, "config"), "--socket", this.socket, "--deadline", "2"];
    this.#child = spawn(process.execPath, [join(root, "dist/cli/berthd.js"), ...args], {
      stdio: ["ignore", "inherit", "pipe"],
    });
    this.#ready = new Promise((resolve, reject) => {
      createInterface(this.#child.stderr).on("line", (line) => {
        this.#log = [...this.#log.slice(-19), line];
        if (line.includes(" ready: ")) resolve();
      });
      this.#child.once("exit", (code) => reject(new Error(`the broker has exited (${code})\n${this.#log.join("\n")}`)));
    });
  }

  async ready() {
    await this.#ready;
  }

  get descriptors() {
    return readdirSync(`/proc/${this.#child.pid}/fd`).length;
  }

  /** What is open, and how often. */
  get open() {
    const counts = new Map();
    for (const fd of readdirSync(`/proc/${this.#child.pid}/fd`)) {
      const file = linkOf(`/proc/${this.#child.pid}/fd/${fd}`);
      counts.set(file, (counts.get(file) ?? 0) + 1);
    }
    return [...counts].map(([file, count]) => `${count} ${file}`).join(", ");
  }

  get memory() {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Number(/^RssAnon:\s+(\d+)/m.exec(status)[1]);
  }

  /** One call of root's on a new connection. Throws when it is not answered in time. */
  async ask(text) {
    const socket = connect(this.socket);
    try {
      const answered = new Promise((resolve, reject) => {
        let reply = "";
        socket.on("error", reject).on("close", () => reject(new Error("the broker has closed the connection")));
        socket.setEncoding("utf8").on("data", (data) => {
          reply += data;
          if (reply.endsWith("\0")) resolve(JSON.parse(reply.slice(0, -1)));
        });
        socket.write(`${text}\0`);
      });
      const late = delay(ANSWER_MS, undefined, { ref: false }).then(() => {
        throw new Error(`the broker has not answered for ${ANSWER_MS} ms`);
      });
      return await Promise.race([answered, late]);
    } finally {
      socket.destroy();
    }
  }

  /** Ends the leases there are, and lets go what was stashed, as a successor that is ready does. */
  async vacate() {
    const { parameters } = await this.ask(broker("List", {}));
    for (const { lease } of parameters.berths) if (lease) await this.ask(broker("Release", { lease: lease.id }));
    for (const { name } of parameters.berths) {
      const { lease } = (await this.ask(broker("Acquire", { berth: name }))).parameters;
      await this.ask(broker("Ready", { lease }));
      await this.ask(broker("Release", { lease }));
    }
  }

  kill() {
    this.#child.kill("SIGKILL");
  }
}

/** Waits until it holds. */
async function settles(what, holds) {
  for (const end = performance.now() + SETTLE_MS; !holds(); await delay(20))
    if (performance.now() > end) throw new Error(what());
}

/** An attacker with one descriptor of each kind, named after it. */
async function attacker(path, uid, target) {
  const program = new Program(path, [String(uid)]);
  const [listed] = await program.do("kinds -");
  const kinds = [];
  for (const kind of listed.split(" ").slice(1))
    if (!skipped.has(kind) && (await program.do(`make ${kind} ${kind}`))[0].startsWith("ok")) kinds.push(kind);
  return { program, kinds, uid, socket: target.socket };
}

/** A connection for each byte and kind: the descriptor comes with that byte of a call. */
function* everyByte({ kinds, socket }) {
  const bytes = Buffer.from(`${broker("List", {})}\0`);
  for (const kind of kinds) {
    for (let at = 0; at < bytes.length; at++) {
      yield `connect c ${socket}`;
      if (at > 0) yield `bytes c - ${bytes.toString("hex", 0, at)}`;
      yield `bytes c ${kind} ${bytes.toString("hex", at)}`;
      yield "drain c";
    }
  }
}

/** Anything at all, on a few connections at a time. */
function* anything({ kinds, socket }, lease) {
  const connections = Array.from({ length: 4 }, (_, n) => `c${n}`);
  for (const name of connections) yield `connect ${name} ${socket}`;
  for (let n = 0; n < SENDS; n++) {
    const name = pick(connections);
    const bytes = mutate(pick(calls(lease)));
    const cut = random(3) === 0 ? random(bytes.length) : 0;
    const fds = pick(["-", pick(kinds), `${pick(kinds)}*${1 + random(253)}`]);
    if (cut > 0) yield `bytes ${name} ${random(2) === 0 ? "-" : fds} ${bytes.toString("hex", 0, cut)}`;
    yield `bytes ${name} ${fds} ${bytes.toString("hex", cut)}`;
    if (random(2) === 0) yield `drain ${name}`;
    if (random(6) === 0) yield `connect ${name} ${socket}`;
  }
}

/** Lines at a time: no more than a pipe takes. */
async function perform(program, lines) {
  const batch = [];
  for (const line of lines) {
    batch.push(line);
    if (batch.length === 64) await program.do(...batch.splice(0));
  }
  if (batch.length > 0) await program.do(...batch);
}

async function fuzz(folder) {
  const path = join(folder, "attacker");
  const source = join(root, "test/fixtures/attacks/attacker.c");
  execFileSync("gcc", ["-std=gnu17", "-O1", "-D_GNU_SOURCE", "-o", path, source, "-lpthread"]);
  const target = new Target(folder);
  const attackers = [];
  try {
    await target.ready();
    for (const uid of [STRANGER, TENANT]) attackers.push(await attacker(path, uid, target));
    const [stranger, tenant] = attackers;
    const end = performance.now() + seconds * 1000;
    let before;
    let bursts = 0;
    const burst = async (one, lines) => {
      await perform(one.program, lines);
      await target.ask(call("org.varlink.service.GetInfo"));
      await one.program.do(...["lease", "received", "c", "c0", "c1", "c2", "c3"].map((name) => `close ${name}`));
      await target.vacate();
      if (before !== undefined) {
        await settles(
          () => `${target.descriptors} descriptors are open, not ${before.descriptors}: ${target.open}`,
          () => target.descriptors <= before.descriptors,
        );
        await settles(
          () => `${target.memory} KiB are in use, after ${before.memory}`,
          () => target.memory - before.memory < MEMORY_KIB,
        );
      }
      bursts++;
    };
    const acquire = async () => {
      await tenant.program.do(`connect lease ${target.socket}`, `send lease - ${broker("Acquire", { berth: "prey" })}`);
      const [reply] = await tenant.program.do("receive lease received");
      return /"lease":"([0-9a-f]+)"/.exec(reply)?.[1] ?? "none";
    };
    for (const one of attackers) await burst(one, everyByte(one));
    await delay(100);
    before = { descriptors: target.descriptors, memory: target.memory };
    while (performance.now() < end) {
      await burst(stranger, anything(stranger, "none"));
      await burst(tenant, anything(tenant, await acquire()));
    }
    return bursts;
  } finally {
    for (const { program } of attackers) program.kill();
    target.kill();
  }
}

const folder = mkdtempSync(join(tmpdir(), "berthd-fuzz-"));
chmodSync(folder, 0o755);
const again = ["--seconds", seconds, "--seed", seed, ...(skipped.size > 0 ? ["--skip", [...skipped].join()] : [])];
console.log(`seed ${seed}`);
try {
  console.log(`${await fuzz(folder)} bursts, and the broker is as it was`);
} catch (error) {
  console.error(`${error.message}\nagain: node scripts/fuzz-wire.mjs ${again.join(" ")}`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
