/**
 * Who is measured by `npm run bench:bind`: the same server on a socket of its own, on a berth's, and behind a process
 * that forwards. Checks that what is called swapped is the broker's very socket. Runs no timed loop itself.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { basename, join } from "node:path";
import { brokerIn } from "./broker.mjs";

const host = "127.0.0.1";
const PROBE_MS = 100;

/** Ports that were free for TCP and UDP a moment ago, all different. */
async function freePorts(count) {
  const open = [];
  try {
    while (open.length < 2 * count) {
      const tcp = createServer().listen(0, host);
      await once(tcp, "listening");
      open.push(tcp);
      const udp = createSocket("udp4").bind(tcp.address().port, host);
      open.push(udp);
      await once(udp, "listening");
    }
    return open.filter((_, index) => index % 2 === 0).map((tcp) => tcp.address().port);
  } finally {
    for (const socket of open) socket.close();
  }
}

/** Whether a datagram to the port comes back. */
async function echoes(port) {
  const socket = createSocket("udp4");
  try {
    const answered = once(socket, "message", { signal: AbortSignal.timeout(PROBE_MS) });
    socket.send("?", port, host);
    await answered;
    return true;
  } catch {
    return false;
  } finally {
    socket.close();
  }
}

/** Whether a stream of no bytes is acknowledged: a held socket takes connections before its server is there. */
async function swallows(port) {
  const socket = connect(port, host);
  try {
    const answered = once(socket, "data", { signal: AbortSignal.timeout(PROBE_MS) });
    socket.write(Buffer.alloc(8));
    await answered;
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const readiness = { udp: (port) => () => echoes(port), tcp: (port) => () => swallows(port) };

/**
 * Starts everything. Returns the contenders of each case in the order in which they take turns, the plain one first:
 * `case` ("start", "bind", "udp" or "tcp"), `label` and `command(amount, warmup)`. `proxy` is systemd-socket-proxyd, or
 * undefined without it.
 */
export async function startBindContenders(processes, compiled, { launcher, proxy, folder }) {
  const programs = openToAll(compiled, folder);
  const names = [
    "game",
    "query",
    "heldGame",
    "heldQuery",
    "berthGame",
    "berthQuery",
    "loop",
    "heldLoop",
    "berthLoop",
    "udp",
    "filteredUdp",
    "otherUdp",
    "berthUdp",
    "frontUdp",
    "tcp",
    "berthTcp",
    "frontTcp",
  ];
  const numbers = await freePorts(names.length);
  const ports = Object.fromEntries(names.map((name, index) => [name, numbers[index]]));
  const serve = (name, kind, port, command) =>
    processes.serve(command, readiness[kind](port), join(folder, `${name}.log`));

  const broker = await startBroker(processes, folder, ports);
  const inBerth = (berth, command) => [launcher, "--socket", broker.socket, berth, "--", ...command];
  for (const kind of ["udp", "tcp"]) {
    const [plain, held] = kind === "udp" ? [ports.udp, ports.berthUdp] : [ports.tcp, ports.berthTcp];
    await serve(`plain-${kind}`, kind, plain, [programs.server, kind, String(plain)]);
    const berthed = inBerth(kind, [programs.server, kind, String(held)]);
    mustShare(broker.pid, await serve(`berth-${kind}`, kind, held, berthed), kind);
  }
  // Its own socket all the same, so that the filter's part can be told from the socket's.
  const filtered = inBerth("other", [programs.server, "udp", String(ports.filteredUdp)]);
  await serve("filtered-udp", "udp", ports.filteredUdp, filtered);
  await serve("udp-forward", "udp", ports.frontUdp, [programs.forward, String(ports.frontUdp), String(ports.udp)]);

  const loop = (port) => (cycles, warmup) => [programs.loop, String(port), String(cycles), String(warmup)];
  const udp = (port) => (cycles, warmup) => [programs.client, "udp", String(port), String(cycles), String(warmup)];
  const tcp = (port) => (megabytes) => [programs.client, "tcp", String(port), String(megabytes)];
  const game = gameSockets("udp:", "tcp:", ports.game, ports.query);
  const heldGame = gameSockets("udp:", "tcp:", ports.heldGame, ports.heldQuery);
  const berthGame = gameSockets("udp:", "tcp:", ports.berthGame, ports.berthQuery);
  const responding = (sockets, command) => [programs.responder, ...sockets, "--", ...command];
  const heldLoop = [`udp:${ports.heldLoop}`];
  const contenders = [
    ...[[], ["set"]].flatMap((set) => [
      { case: "start", set, label: "no filter", command: () => [programs.first, ...set, ...game] },
      {
        ...{ case: "start", set, label: "C responder" },
        command: () => responding(heldGame, [programs.first, ...set, ...heldGame]),
      },
      { case: "start", set, label: "berth", command: () => inBerth("game", [programs.first, ...set, ...berthGame]) },
    ]),
    { case: "bind", label: "no filter", command: loop(ports.loop) },
    { case: "bind", label: "C responder", command: (...args) => responding(heldLoop, loop(ports.heldLoop)(...args)) },
    { case: "bind", label: "berth", command: (...args) => inBerth("loop", loop(ports.berthLoop)(...args)) },
    { case: "udp", label: "own socket", command: udp(ports.udp) },
    { case: "udp", label: "own socket, filter", command: udp(ports.filteredUdp) },
    { case: "udp", label: "berth's socket", command: udp(ports.berthUdp) },
    { case: "udp", label: "udp-forward", command: udp(ports.frontUdp) },
    { case: "tcp", label: "own socket", command: tcp(ports.tcp) },
    { case: "tcp", label: "berth's socket", command: tcp(ports.berthTcp) },
  ];
  if (proxy !== undefined) {
    const command = ["systemd-socket-activate", "-l", `${host}:${ports.frontTcp}`, proxy, `${host}:${ports.tcp}`];
    await serve("socket-proxyd", "tcp", ports.frontTcp, command);
    contenders.push({ case: "tcp", label: "socket-proxyd", command: tcp(ports.frontTcp) });
  }
  return contenders;
}

/** What a game binds: a port for players, the same of TCP, and one for queries. */
const gameSockets = (udp, tcp, port, query) => [`${udp}${port}`, `${tcp}${port}`, `${udp}${query}`];

/** Root's servers run as nobody, who may not be let into the folder of the checkout. */
function openToAll(compiled, folder) {
  chmodSync(folder, 0o711);
  const copies = Object.entries(compiled).map(([name, path]) => {
    const copy = join(folder, basename(path));
    copyFileSync(path, copy);
    return [name, copy];
  });
  return Object.fromEntries(copies);
}

async function startBroker(processes, folder, { berthGame, berthQuery, berthLoop, otherUdp, berthUdp, berthTcp }) {
  const { config, state, socket, log, command } = brokerIn(folder);
  mkdirSync(config);
  mkdirSync(state);
  const [udp, tcp] = [`udp://${host}:`, `tcp://${host}:`];
  const berths = {
    game: { listen: gameSockets(udp, tcp, berthGame, berthQuery), otherBinds: "refuse" },
    loop: { listen: [`${udp}${berthLoop}`], otherBinds: "refuse" },
    other: { listen: [`${udp}${otherUdp}`], otherBinds: "allow" },
    udp: { listen: [`${udp}${berthUdp}`], otherBinds: "refuse" },
    tcp: { listen: [`${tcp}${berthTcp}`], otherBinds: "refuse" },
  };
  const user = process.geteuid() === 0 ? 'user = "nobody"' : "";
  for (const [berth, { listen, otherBinds }] of Object.entries(berths)) {
    const sections = [
      ...["[sockets.game]", `listen = ${JSON.stringify(listen)}`],
      ...["[server]", 'deliver = ["bind"]', `other-binds = "${otherBinds}"`, user],
    ];
    writeFileSync(join(config, `${berth}.toml`), `${sections.join("\n")}\n`);
  }
  return { socket, pid: await processes.serve(command, socket, log) };
}

/** Throws unless the server has a socket of the broker's: otherwise it is not this that is measured. */
function mustShare(broker, server, kind) {
  const sockets = (pid) => {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
    return links.filter((link) => link.startsWith("socket:"));
  };
  const held = new Set(sockets(broker));
  const own = sockets(server);
  if (!own.some((link) => held.has(link))) {
    throw new Error(`the ${kind} server in the berth has ${own.join(", ") || "no socket"}, none of them the broker's`);
  }
}

function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // it was closed meanwhile
  }
}
