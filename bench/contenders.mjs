/**
 * Who is measured: each contender's servers set up and started in a temporary folder, and the command that times one
 * case against it. Runs no timed loop itself.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { brokerIn } from "./broker.mjs";

/** Of which kind the descriptors of a berth are that has so many. */
const kindsOf = (count) => Array.from({ length: count }, (_, index) => (index % 2 === 0 ? "tcp" : "udp"));
const names = ["game", "query", "admin", "map"];
const PROBE_MS = 30_000;

/**
 * What is timed: one call over a connection that stays, of a tenant or for a new lease that is released again, or all
 * of connect, call and close. Or many calls at once: CROWD connections with PIPELINED calls each (bench/common.h).
 */
export const cases = [
  { mode: "hold", count: 1 },
  { mode: "hold", count: 4 },
  { mode: "lease", count: 1 },
  { mode: "lease", count: 4 },
  { mode: "connect", count: 1 },
  { mode: "connect", count: 4 },
  { mode: "crowd", count: 1 },
];

/**
 * Ports of 127.0.0.1 that nobody has at this moment, as `tcp:PORT` and `udp:PORT`: a set for each size of berth, and
 * one of one port for each client that has a berth of its own.
 */
async function freeSockets({ sizes, clients }) {
  const open = [];
  const sets = new Map();
  const wanted = [...sizes.map((count) => [count, count]), ...clients.map((client) => [client, 1])];
  for (const [key, count] of wanted) {
    const set = [];
    for (const kind of kindsOf(count)) {
      const socket = kind === "tcp" ? createServer().listen(0, "127.0.0.1") : createSocket("udp4").bind(0, "127.0.0.1");
      open.push(socket);
      await once(socket, "listening");
      set.push(`${kind}:${socket.address().port}`);
    }
    sets.set(key, set);
  }
  // Closed by the caller once every contender has its own, or two of them would be given the same port.
  return { sets, close: () => Promise.all(open.map((socket) => new Promise((done) => socket.close(done)))) };
}

async function distinctSockets(wanted) {
  const drawn = [];
  for (const one of wanted) drawn.push(await freeSockets(one));
  await Promise.all(drawn.map(({ close }) => close()));
  return drawn.map(({ sets }) => sets);
}

/**
 * Starts everything. Returns the contenders in the order in which they take turns, the floor first: `label`,
 * `takesPart(case)` and `command(case, cycles, warmup)`; and the length of the reply, in bytes, by berth size. `sizes`
 * are the numbers of descriptors, 1 among them. Each of `clients` gets a berth of its own. The `count` of its case is
 * its name.
 */
export async function startContenders(processes, programs, folder, { sizes = [1, 4], clients = [] } = {}) {
  const others = { sizes, clients: [] };
  const [berthd, floor, s6Directory, s6Cdb] = await distinctSockets([{ sizes, clients }, others, others, others]);
  const broker = await startBerthd(processes, programs.client, folder, berthd);
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
  const replyBytes = Object.fromEntries(
    [...broker.replies].filter(([n]) => sizes.includes(n)).map(([n, reply]) => [n, Buffer.byteLength(reply) + 1]),
  );
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

async function startBerthd(processes, client, folder, sets) {
  const { config, state, socket, log, command } = brokerIn(folder);
  mkdirSync(config);
  mkdirSync(state);
  for (const [count, set] of sets) {
    const sections = set.map((text, index) => {
      const [scheme, port] = text.split(":");
      return `[sockets.${names[index] ?? `more${index}`}]\nlisten = ["${scheme}://127.0.0.1:${port}"]\n`;
    });
    writeFileSync(join(config, `${berthOf(count)}.toml`), sections.join("\n"));
  }
  await processes.serve(command, socket, log);
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
    await processes.serve(
      ["s6-fdholder-daemon", "-c", "64", ...rules, socket],
      socket,
      join(folder, `s6${rules[0]}${count}.log`),
    );
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
