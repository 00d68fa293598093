import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { borrow, closeAll, FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { VarlinkClient } from "../../src/varlink/client.ts";
import { connectUnix } from "../../src/varlink/connect.ts";
import { brokerInterface } from "../../src/varlink/interfaces/io.berthd.Broker.ts";
import { successionInterface } from "../../src/varlink/interfaces/io.berthd.Succession.ts";
import { metricsInterface } from "../../src/varlink/interfaces/io.systemd.Metrics.ts";
import { Wire } from "../../src/wire.ts";
import { startBroker } from "../support/broker.ts";
import { blocks, read, section } from "./markdown.ts";

const page = read("docs/protocol.md");

/** The configuration of the page by file name, with ports of the kernel's choice. */
const configuration = Object.fromEntries(
  blocks(page, "toml").map((text) => [
    /^# (\S+)/.exec(text)?.[1] ?? "",
    text.replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:0"),
  ]),
);

/** The python of the page, in a file of its own, with BERTHD_SOCKET set. */
function python(code: string, folder: string, socket: string): ChildProcess {
  const path = join(folder, "client.py");
  writeFileSync(path, code);
  return spawn("python3", [path], {
    env: { ...process.env, BERTHD_SOCKET: socket },
    stdio: ["pipe", "pipe", "inherit"],
  });
}

/** What a line of its output says that matches: a pipe does not deliver lines whole, nor one at a time. */
async function said(child: ChildProcess, line: RegExp): Promise<RegExpExecArray> {
  if (child.stdout === null) throw new Error("no stdout");
  const lines: string[] = [];
  for await (const said of createInterface(child.stdout)) {
    const found = line.exec(said);
    if (found !== null) return found;
    lines.push(said);
  }
  throw new Error(`the client ended, and said only: ${lines.join("\n")}`);
}

test("the interfaces in the page are those that are served, to the byte", () => {
  expect(blocks(section(page, "## The interface"), "")).toEqual([brokerInterface]);
  expect(blocks(section(page, "## Between brokers"), "")).toEqual([successionInterface]);
  expect(blocks(section(page, "## Measurements"), "")).toEqual([metricsInterface]);
});

test("the Python client of the page takes a berth, serves on it, and gives it back", async () => {
  await using served = await startBroker(configuration);
  const [code = ""] = blocks(page, "python");
  const client = python(code, served.folder.path, served.socket);
  const exited = once(client, "exit");
  const [, port] = await said(client, /^stream game tcp:\/\/127\.0\.0\.1:(\d+)$/);
  expect(await text(connectTcp(Number(port), "127.0.0.1"))).toBe("hello from a berth\n");
  expect(await exited).toEqual([0, null]);
  expect(served.broker.berths.find(({ name }) => name === "arena")?.state).toBe("vacant");
  expect(served.log.filter(({ message }) => message.includes("the tenant released it"))).toHaveLength(1);
});

test("every exchange of the page happens as it was recorded", async () => {
  await using served = await startBroker(configuration);
  const [code = ""] = blocks(page, "python");
  const takeLobby = `${code.slice(0, code.indexOf("broker = connect()"))}
broker = connect()
call(broker, "Acquire", berth="lobby")
print("taken", flush=True)
sys.stdin.read()
`;
  const other = python(takeLobby, served.folder.path, served.socket);
  const exited = once(other, "exit");
  try {
    await said(other, /^taken$/);
    const leases = new Leases();
    let compared = 0;
    for (const block of blocks(page, "varlink")) compared += await replay(block, served.socket, leases);
    expect(compared).toBeGreaterThan(20);
  } finally {
    other.stdin?.end();
    await exited;
  }
});

/** What one line of an exchange says: sent, received, or done elsewhere in between. */
interface Step {
  readonly sign: string;
  readonly text: string;
  readonly fds: number;
}

function stepsOf(block: string): Step[] {
  return block
    .split(/^(?=[→←⋯] )/m)
    .map((entry) => /^(.) ([\s\S]*?)(?: \+ (\d+) descriptors?)?\n?$/.exec(entry))
    .map((match) => ({ sign: match?.[1] ?? "", text: match?.[2] ?? "", fds: Number(match?.[3] ?? 0) }));
}

/** Ids of leases in the page, and those that stand for them in this run. */
class Leases {
  readonly #actual = new Map<string, string>();
  readonly #documented = new Map<string, string>();
  newest = "";

  meet(documented: string, actual: string): void {
    if (!this.#actual.has(documented)) this.newest = actual;
    this.#actual.set(documented, actual);
    this.#documented.set(actual, documented);
  }

  toActual(text: string): string {
    return text.replace(/\b[0-9a-f]{16}\b/g, (id) => this.#actual.get(id) ?? id);
  }

  toDocumented(text: string): string {
    return text.replace(/\b[0-9a-f]{16}\b/g, (id) => this.#documented.get(id) ?? id);
  }
}

/** Without what differs from machine to machine and run to run. */
function comparable(text: string): unknown {
  return JSON.parse(
    text
      .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT")
      .replace(/pid \d+ \(uid \d+\)/g, "pid PID (uid UID)")
      .replace(/"(pid|uid)": ?\d+/g, '"$1": 0')
      .replace(/,\s*"unit": ?"[^"]*"/g, "")
      .replace(/,\s*"(since|restarts)": ?\d+/g, "")
      .replace(/"version": ?"[^"]*"/g, '"version": ""'),
  );
}

/**
 * Sends what the block sends and expects what it shows, on a connection of its own. Returns how many replies were
 * compared.
 */
async function replay(block: string, socket: string, leases: Leases): Promise<number> {
  const received: { text: string; fds: number }[] = [];
  let wake: () => void = () => undefined;
  const wire = new Wire(
    await connectUnix(socket),
    {
      onMessage(bytes, length, fds) {
        received.push({ text: bytes.toString("utf8", 0, length), fds: fds.length });
        closeAll(fds);
        wake();
      },
      onClosed: () => wake(),
    },
    { framing: "nul" },
  );
  let compared = 0;
  try {
    const steps = stepsOf(block);
    // A connection on which nothing was answered yet may send no descriptors.
    if (steps[0]?.sign === "→" && steps[0].fds > 0) {
      wire.send(Buffer.from('{"method": "org.varlink.service.GetInfo"}\0'));
      if (received.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      received.shift();
    }
    for (const { sign, text, fds } of steps) {
      if (sign === "→") {
        const handles = newFiles(fds);
        wire.send(Buffer.from(`${leases.toActual(text)}\0`), borrow(handles));
        closeAll(handles);
      } else if (sign === "⋯") await release(socket, leases.newest);
      else {
        if (received.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        const reply = received.shift();
        if (reply === undefined) throw new Error(`the broker closed instead of: ${text}`);
        learn(leases, text, reply.text);
        expect(comparable(leases.toDocumented(reply.text))).toEqual(comparable(text));
        expect(reply.fds).toBe(fds);
        compared++;
      }
    }
    expect(received).toEqual([]);
  } finally {
    wire.close();
  }
  return compared;
}

/** Leases are met in replies: those granted, and those of others in lists. */
function learn(leases: Leases, documented: string, actual: string): void {
  const ids = (text: string): string[] =>
    Array.from(text.matchAll(/"(?:lease|id)": ?"([0-9a-f]{16})"/g), ([, id = ""]) => id);
  const known = ids(actual);
  for (const [index, id] of ids(documented).entries()) leases.meet(id, known[index] ?? "");
}

function newFiles(count: number): FdHandle[] {
  return Array.from({ length: count }, () => FdHandle.adopt(native.memfd("left for the next")));
}

async function release(socket: string, lease: string): Promise<void> {
  using client = await VarlinkClient.connect(socket);
  using _ = await client.call("io.berthd.Broker.Release", { lease });
}
