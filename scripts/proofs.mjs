/**
 * `npm start -- --once`: holds the running demo against what berthd promises. Each proof is a sentence that it returns,
 * or the reason why it failed, thrown.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PATIENCE } from "./demo.mjs";
import { Sentence } from "./prepare.mjs";

const HOST = "127.0.0.1";
const limit = () => ({ signal: AbortSignal.timeout(PATIENCE) });

/** Proves everything, in order; `proved` hears of each as it stands. */
export async function proveAll(demo, proved) {
  const fds = await openDescriptors(demo);
  proved(`a program started on the berth has fds ${fds} and no other`);

  const server = demo.launch();
  const pid = server.pid;
  const overTcp = await ask(demo, "hello", tcp);
  demand(overTcp === `uid ${demo.uid}, pid ${pid} got: hello`, `TCP answered "${overTcp}"`);
  proved(`TCP ${demo.port} answers: ${overTcp}`);
  const overUdp = await ask(demo, "hello", udp);
  demand(overUdp === overTcp, `UDP answered "${overUdp}"`);
  proved(`UDP ${demo.port} answers: ${overUdp}`);
  proved(`pid ${pid} was the launcher's, and is the server's`);

  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  proved(
    `it has no privilege: ${["Uid", "CapEff", "NoNewPrivs"].map((field) => expectStatus(status, field, demo)).join(", ")}`,
  );
  proved(`its sockets are the broker's own, and it has no other: fds ${await sharedSockets(demo, pid)}`);

  await proveSurvival(demo, server, proved);
  await proveRoot(demo, proved);
  if (demo.webAddress !== undefined) await provePage(demo, proved);
}

/** The status page answers, as itself and with the berths. */
async function provePage(demo, proved) {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    try {
      const { berths } = await (await fetch(new URL("api/v1/overview", demo.webAddress), limit())).json();
      const echo = berths.find(({ name }) => name === "echo");
      const type = (await fetch(demo.webAddress, limit())).headers.get("content-type");
      demand(echo !== undefined, `it shows ${berths.length} berths, and not echo`);
      demand(type?.startsWith("text/html"), `its page is ${type}`);
      return proved(`the status page at ${demo.webAddress} shows ${berths.length} berths, and echo is ${echo.state}`);
    } catch (error) {
      if (performance.now() > deadline) throw new Sentence(`the status page: ${error.message}\n${demo.log("web")}`);
      await delay(50);
    }
  }
}

/** A tenant changes a file of its root: the next one has it so, and the image is what it was. */
async function proveRoot(demo, proved) {
  const before = readFileSync(join(demo.image, "motd"), "utf8");
  const script = "cat /proc/self/fd/3/motd; echo mine >/proc/self/fd/3/motd";
  let first;
  try {
    first = await demo.output("vault", ["sh", "-c", script]);
  } catch (error) {
    // Containers and some systems forbid it; the broker says what to set, and the rest works all the same.
    if (!/root of berth .* is not available/.test(error.message)) throw error;
    return proved(`no roots on this system: ${error.message.split("\n").at(-1)}`);
  }
  demand(first === before, `the root's motd says "${first}"`);
  const second = await demo.output("vault", ["cat", "/proc/self/fd/3/motd"]);
  demand(second === "mine\n", `the next tenant's motd says "${second}"`);
  demand(readFileSync(join(demo.image, "motd"), "utf8") === before, "the image has changed");
  const { uid } = statSync(join(demo.upper, "motd"));
  proved(
    `a file written in the root of berth vault is there for the next tenant, belongs to id ${uid}, and the image is as it was`,
  );
}

/** What `ls` sees open: 0 to 2, the berth's, and one that ls itself has opened to look. */
async function openDescriptors(demo) {
  const listed = (await demo.output("echo", ["ls", "/proc/self/fd"])).trim().split("\n");
  demand(listed.join(" ") === "0 1 2 3 4 5", `a program on the berth has fds ${listed.join(" ")}`);
  return listed.slice(0, -1).join(" ");
}

function expectStatus(status, field, { uid }) {
  const value = new RegExp(`^${field}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "absent";
  const wanted = { Uid: [uid, uid, uid, uid].join("\t"), CapEff: "0".repeat(16), NoNewPrivs: "1" }[field];
  demand(value === wanted, `the server's ${field} is ${value}`);
  return `${field} ${field === "Uid" ? uid : value}`;
}

/**
 * The server's sockets by inode: fds 3 and 4, which the broker must hold too, once the connection just asked over is
 * gone.
 */
async function sharedSockets(demo, pid) {
  const held = new Set(socketsOf(demo.broker.pid).map(([, inode]) => inode));
  const { signal } = limit();
  let mine = socketsOf(pid);
  for (; mine.length > 2 && !signal.aborted; mine = socketsOf(pid)) await delay(5);
  const isShared = mine.map(([fd]) => fd).join() === "3,4" && mine.every(([, inode]) => held.has(inode));
  demand(isShared, `the server's sockets are ${JSON.stringify(mine)}`);
  return mine.map(([fd, inode]) => `${fd} → ${inode}`).join(", ");
}

function socketsOf(pid) {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => [fd, linkOf(`/proc/${pid}/fd/${fd}`)]);
  return links.filter(([, target]) => target.startsWith("socket:"));
}

function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed meanwhile
  }
}

/** SIGKILL in the middle of a stream of connections: none is refused, and what has queued is the next server's. */
async function proveSurvival(demo, server, proved) {
  const knocking = new AbortController();
  const knocks = knock(demo.port, knocking.signal);
  try {
    await proveSuccession(demo, server, proved);
  } finally {
    knocking.abort();
  }
  const { connected, failed } = await knocks;
  const [first] = failed;
  demand(
    first === undefined && connected > 0,
    `${failed.length} of ${connected + failed.length} connections failed: ${first}`,
  );
  proved(`of ${connected} connections tried all that while, none was refused`);
}

async function proveSuccession(demo, server, proved) {
  const freed = untilVacant(demo);
  const closed = once(server, "close", limit());
  const killedAt = performance.now();
  server.kill("SIGKILL");
  await Promise.all([closed, freed]);
  proved(`killed with SIGKILL, the berth is free again after ${(performance.now() - killedAt).toFixed(0)} ms`);

  const queued = [tcp(demo, "I came while nobody was there"), udp(demo, "so did I")];
  const next = demo.launch();
  const answers = await Promise.all(queued);
  const expected = ["I came while nobody was there", "so did I"].map(
    (said) => `uid ${demo.uid}, pid ${next.pid} got: ${said}`,
  );
  demand(answers.join() === expected.join(), `after the kill came ${JSON.stringify(answers)}`);
  proved(`the next server (pid ${next.pid}) answers the connection and the packet that queued meanwhile`);
}

/** Connects again and again until told to stop. */
async function knock(port, signal) {
  const failed = [];
  let connected = 0;
  while (!signal.aborted) {
    const socket = connectTcp(port, HOST);
    try {
      await once(socket, "connect", limit());
      connected++;
    } catch (error) {
      failed.push(error.message);
    }
    socket.on("error", () => undefined).destroy();
    await delay(2);
  }
  return { connected, failed };
}

/** The state and not the event: it may have been released before the watch began. */
async function untilVacant(demo) {
  for await (const { berth } of watch(demo, limit().signal)) {
    if (berth.name === "echo" && berth.state === "vacant") return;
  }
}

/** Events of the broker, those of what is there first. */
export async function* watch(demo, signal) {
  const { connect } = await import("../dist/client/connect.js");
  const client = await connect({ socket: demo.socket, signal });
  try {
    for await (const { parameters } of client.stream("io.berthd.Broker.Watch", {}, { signal })) yield parameters;
  } finally {
    client.close();
  }
}

/** One question; a server that still starts has it in its queue, for the port is open already. */
async function ask(demo, text, over) {
  try {
    return await over(demo, text);
  } catch (error) {
    throw new Sentence(`no answer on ${over.name.toUpperCase()} ${demo.port}: ${error.message}\n${demo.log("server")}`);
  }
}

async function tcp({ port }, text) {
  const socket = connectTcp(port, HOST);
  try {
    socket.write(`${text}\n`);
    const [answer] = await once(socket, "data", limit());
    return String(answer).trimEnd();
  } finally {
    socket.destroy();
  }
}

async function udp({ port }, text) {
  const socket = createSocket("udp4");
  try {
    socket.send(`${text}\n`, port, HOST);
    const [answer] = await once(socket, "message", limit());
    return String(answer).trimEnd();
  } finally {
    socket.close();
  }
}

function demand(holds, otherwise) {
  if (!holds) throw new Sentence(otherwise);
}
