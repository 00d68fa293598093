/**
 * Who is measured: each contender's servers set up and started in a temporary folder, and the command that times one
 * case against it. Runs no timed loop itself.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

/** How many descriptors a berth has, and of which kind they are. */
const kinds = new Map([
  [1, ["tcp"]],
  [4, ["tcp", "udp", "tcp", "udp"]],
]);
const names = ["game", "query", "admin", "map"];
const PROBE_MS = 30_000;

/**
 * What is timed: one call over a connection that stays, of a tenant or for a new lease that is released again, or all
 * of connect, call and close.
 */
export const cases = [
  { mode: "hold", count: 1 },
  { mode: "hold", count: 4 },
  { mode: "lease", count: 1 },
  { mode: "lease", count: 4 },
  { mode: "connect", count: 1 },
  { mode: "connect", count: 4 },
];

/** Ports of 127.0.0.1 that nobody has at this moment, as `tcp:PORT` and `udp:PORT`, one set for each size of berth. */
async function freeSockets() {
  const open = [];
  const sets = new Map();
  for (const [count, list] of kinds) {
    const set = [];
    for (const kind of list) {
      const socket = kind === "tcp" ? createServer().listen(0, "127.0.0.1") : createSocket("udp4").bind(0, "127.0.0.1");
      open.push(socket);
      await once(socket, "listening");
      set.push(`${kind}:${socket.address().port}`);
    }
    sets.set(count, set);
  }
  // Closed by the caller once every contender has its own, or two of them would be given the same port.
  return { sets, close: () => Promise.all(open.map((socket) => new Promise((done) => socket.close(done)))) };
}

async function distinctSockets(howMany) {
  const drawn = [];
  for (let i = 0; i < howMany; i++) drawn.push(await freeSockets());
  await Promise.all(drawn.map(({ close }) => close()));
  return drawn.map(({ sets }) => sets);
}

/**
 * Starts everything. Returns the contenders in the order in which they take turns, the floor first: `label`,
 * `takesPart(case)` and `command(case, cycles, warmup)`; and the length of the reply, in bytes, by berth size.
 */
export async function startContenders(processes, programs, root, folder) {
  const [berthd, floor, s6Directory, s6Cdb] = await distinctSockets(4);
  const broker = await startBerthd(processes, programs.client, root, folder, berthd);
  const contenders = [await startFloor(processes, programs, folder, floor, broker.replies), broker.contender];
  if (programs.s6Client !== undefined) {
    const rules = writeRules(folder);
    const compiled = join(folder, "rules.cdb");
    await processes.run(["s6-accessrules-cdb-from-fs", compiled, rules], PROBE_MS);
    const directory = await startS6(processes, programs.s6Client, folder, ["-i", rules], s6Directory);
    const cdb = await startS6(processes, programs.s6Client, folder, ["-x", compiled], s6Cdb);
    // Rules are read when a client connects, so their form makes no difference to a connection that stays.
    const connecting = ({ mode }) => mode === "connect";
    contenders.push(
      s6Contender("s6 retrieve", directory, "retrieve", ({ mode }) => mode !== "lease"),
      s6Contender("s6 getdump", directory, "getdump", ({ mode, count }) => mode !== "lease" && count > 1),
      s6Contender("s6 retrieve, cdb rules", cdb, "retrieve", connecting),
      s6Contender("s6 getdump, cdb rules", cdb, "getdump", (one) => connecting(one) && one.count > 1),
    );
  }
  const replyBytes = Object.fromEntries([...broker.replies].map(([n, reply]) => [n, Buffer.byteLength(reply) + 1]));
  return { contenders, replyBytes };
}

const berthOf = (count) => `bench${count}`;

function clientContender(label, client, socketOf, sets) {
  return {
    label,
    takesPart: () => true,
    command: ({ mode, count }, cycles, warmup) => [
      ...[client, socketOf(count), berthOf(count), mode, String(cycles), String(warmup)],
      ...sets.get(count),
    ],
  };
}

async function startBerthd(processes, client, root, folder, sets) {
  const [config, state, socket] = ["config", "state", "berthd.sock"].map((name) => join(folder, name));
  mkdirSync(config);
  mkdirSync(state);
  for (const [count, set] of sets) {
    const sections = set.map((text, index) => {
      const [scheme, port] = text.split(":");
      return `[sockets.${names[index]}]\nlisten = ["${scheme}://127.0.0.1:${port}"]\n`;
    });
    writeFileSync(join(config, `${berthOf(count)}.toml`), sections.join("\n"));
  }
  const options = ["--config", config, "--state", state, "--socket", socket];
  const command = [process.execPath, join(root, "dist/cli/berthd.js"), ...options];
  await processes.serve(command, socket, join(folder, "berthd.log"));
  const replies = new Map();
  for (const [count, set] of sets) {
    const printed = await processes.run([client, socket, berthOf(count), "reply", ...set], PROBE_MS);
    replies.set(count, printed.slice(0, -1));
  }
  return { replies, contender: clientContender("berthd", client, () => socket, sets) };
}

/** One floor for each size of berth, which answers with the very bytes that berthd answered with. */
async function startFloor(processes, { floor, client }, folder, sets, replies) {
  const socketOf = (count) => join(folder, `floor${count}.sock`);
  for (const [count, set] of sets) {
    const command = [floor, socketOf(count), replies.get(count), ...set];
    await processes.serve(command, socketOf(count), join(folder, `floor${count}.log`));
  }
  return clientContender("floor", client, socketOf, sets);
}

/** s6's access rules: the user who runs the benchmark may do everything. */
function writeRules(folder) {
  const rules = join(folder, "rules");
  const user = join(rules, "uid", String(process.getuid()));
  mkdirSync(join(user, "env"), { recursive: true });
  writeFileSync(join(user, "allow"), "");
  writeFileSync(join(user, "env/S6_FDHOLDER_STORE_REGEX"), "^(tcp|udp):");
  writeFileSync(join(user, "env/S6_FDHOLDER_RETRIEVE_REGEX"), "^(tcp|udp):");
  writeFileSync(join(user, "env/S6_FDHOLDER_GETDUMP"), "1");
  return rules;
}

/** One s6-fdholderd for each size of berth, because getdump hands out all that a daemon holds. */
async function startS6(processes, client, folder, rules, sets) {
  const socketOf = (count) => join(folder, `s6${rules[0]}${count}.sock`);
  for (const [count, set] of sets) {
    const socket = socketOf(count);
    await processes.serve(["s6-fdholder-daemon", ...rules, socket], socket, join(folder, `s6${rules[0]}${count}.log`));
    await processes.run([client, socket, "store", ...set], PROBE_MS);
  }
  return { client, socketOf, sets };
}

function s6Contender(label, { client, socketOf, sets }, take, takesPart) {
  return {
    label,
    takesPart,
    command: ({ mode, count }, cycles, warmup) => [
      ...[client, socketOf(count), take, mode, String(cycles), String(warmup)],
      ...sets.get(count),
    ],
  };
}
