/**
 * SIGKILL of the old server, the new one or the broker at each step of an upgrade: a client that comes then is neither
 * refused nor reset, one server has the berth at the end, and no descriptor is left behind.
 */
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { launcherPath } from "../../../src/launcher-path.ts";
import { NOBODY, Server } from "../../bind/harness.ts";
import { type BrokerProcess, isReady, launchBroker, spawnBroker, TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { isRoot } from "../../support/needs.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

vi.setConfig({ testTimeout: 120_000 });
leaksNothing("soon");

/** Answers each client with its pid. Once it was asked to end, it goes on until it has a line on standard input. */
const program = `import os, select, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"asked\\n"))
listener = socket.socket(fileno=3)
listener.setblocking(True)
print("up", flush=True)
while True:
    if sys.stdin in select.select([listener, sys.stdin], [], [])[0]: sys.exit()
    client, _ = listener.accept()
    client.sendall(str(os.getpid()).encode() + b"\\n")
    client.close()
`;
const programs = new TestFolder({ "server.py": program });
afterAll(() => programs[Symbol.dispose]());

const STEPS = ["before the drain", "while it drains", "at the stop", "at the start", "before it is ready"] as const;
type Step = (typeof STEPS)[number];
type Victim = "old server" | "new server" | "broker";
const CASES: readonly (readonly [Victim, Step])[] = STEPS.flatMap((step, at) => [
  [at < 3 ? "old server" : "new server", step],
  ["broker", step],
]);

/** The pid that a new client is told. Rejects if it is refused, reset, or told nothing. */
async function ask(port: number): Promise<number> {
  const socket = connect(port, "127.0.0.1");
  const [data] = (await once(socket, "data", { signal: AbortSignal.timeout(60_000) })) as [Buffer];
  socket.destroy();
  return Number(data.toString());
}

interface Listed {
  readonly state: string;
  readonly lease?: { readonly pid: number };
}

async function berth(broker: BrokerProcess): Promise<Listed | undefined> {
  using peer = await RawPeer.connect(broker.socket);
  const [first] = ((await peer.call("List"))?.parameters["berths"] ?? []) as Listed[];
  return first;
}

const launch = (broker: BrokerProcess): Server =>
  new Server(launcherPath(), [
    ...["--socket", broker.socket, "game", "--", "/usr/bin/python3", "-S", join(programs.path, "server.py")],
  ]);

const countOf = (broker: BrokerProcess): number => readdirSync(`/proc/${broker.pid}/fd`).length;

/** Ends what it was given, the last one first: AsyncDisposableStack is not in Node 20. */
class Stack implements AsyncDisposable {
  readonly #all: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(one: T): T {
    this.#all.push(one);
    return one;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#all.reverse()) await one[Symbol.asyncDispose]();
  }
}

/** An upgrade with a kill at one step, if there is a victim. How many descriptors the last broker has at the end. */
async function upgrade(limit: number, victim?: Victim, step?: Step): Promise<number> {
  const port = await freePort();
  const user = isRoot ? `user = ${NOBODY}\n` : "";
  const file = `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\n${user}drain = "queue"\n`;
  await using stack = new Stack();
  const first = stack.use(await spawnBroker({ "game.toml": file }));
  let broker: BrokerProcess = first;
  const servers: Server[] = [];
  const start = (): Server => {
    const server = stack.use(launch(broker));
    servers.push(server);
    return server;
  };
  const clients: Promise<number>[] = [];
  const at = async (now: Step, server: Server): Promise<void> => {
    if (now !== step) return;
    if (victim !== "broker") {
      await server.kill();
      return void clients.push(ask(port));
    }
    broker.child.kill("SIGKILL");
    await broker.exited;
    // Without a service manager, nobody has the sockets of a vacant berth once its broker was killed (docs/restart.md).
    if (now !== "at the start") clients.push(ask(port));
    broker = stack.use(launchBroker(first.folder));
    await broker.logged(isReady);
    if (now === "at the start") clients.push(ask(port));
  };
  const old = start();
  await old.said(1);
  await at("before the drain", old);
  {
    using peer = await RawPeer.connect(broker.socket);
    await peer.call("Drain", { berth: "game", within: 1 });
  }
  await at("while it drains", old);
  if (isRunning(old)) await old.said(2);
  await at("at the stop", old);
  if (isRunning(old)) old.child.stdin?.write("\n");
  await old.ended();
  await expect.poll(async () => (await berth(broker))?.state, { timeout: 30_000 }).toBe("vacant");
  let next = start();
  await at("at the start", next);
  // A launcher that found no broker has ended, and is started again.
  for (let tries = 0; tries < 3 && !(await isUp(next)); tries++) next = start();
  await at("before it is ready", next);
  if (!(await isUp(next))) {
    next = start();
    await next.said(1);
  }
  expect(await ask(port)).toBe(next.pid);
  const pids = servers.map(({ pid }) => pid);
  for (const pid of await Promise.all(clients)) expect(pids).toContain(pid);
  expect(clients.length).toBe(victim === undefined ? 0 : 1);
  expect(await berth(broker)).toMatchObject({ state: "occupied", lease: { pid: next.pid } });
  expect(servers.filter(isRunning)).toEqual([next]);
  await next.kill();
  await expect.poll(async () => (await berth(broker))?.state, { timeout: 30_000 }).toBe("vacant");
  await expect.poll(() => countOf(broker), { timeout: 30_000 }).toBeLessThanOrEqual(limit);
  return countOf(broker);
}

/** Whether it runs and has said so; false once it has ended. */
async function isUp(server: Server): Promise<boolean> {
  try {
    await server.said(1);
  } catch {
    return false;
  }
  return isRunning(server);
}

function isRunning({ child }: Server): boolean {
  return child.exitCode === null && child.signalCode === null;
}

it.each(CASES)("of the %s %s", async (victim, step) => {
  usual ??= upgrade(Number.POSITIVE_INFINITY);
  await upgrade(await usual, victim, step);
});

/** How many descriptors a broker has after an upgrade without a kill. */
let usual: Promise<number> | undefined;
