/** Servers that go into the background: their lease lasts as long as any of their processes does. Needs root. */
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { native } from "../../src/native.ts";
import { O_NONBLOCK } from "../../src/net/socket-constants.ts";
import { startBroker } from "../support/broker.ts";
import { Dynasty } from "../support/dynasty.ts";
import { FakeManager } from "../support/fake-manager.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs, pathOf } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { freePort } from "../support/ports.ts";
import { askTcp, askUdp, berth, copyFixture, inodesAt, run, type Server, socketsOf } from "./harness.ts";

vi.setConfig({ testTimeout: 60_000 });
leaksNothing("soon");

interface Listed {
  readonly state: string;
  readonly lease?: { readonly id: string; readonly pid: number };
}

/** The berth, as the broker tells of it. */
async function look({ socket }: { readonly socket: string }): Promise<Listed> {
  using peer = await RawPeer.connect(socket);
  const reply = await peer.call("List");
  const [first] = (reply?.parameters["berths"] ?? []) as Listed[];
  if (first === undefined) throw new Error("there is no berth");
  return first;
}

/** Resolves when the berth is as wanted. */
async function seen(broker: { readonly socket: string }, wanted: unknown): Promise<void> {
  await expect.poll(() => look(broker), { timeout: 30_000 }).toMatchObject(wanted as Listed);
}

const vacant = { state: "vacant" };
const takenBy = (pid: number) => ({ state: "occupied", lease: { pid } });

interface Background extends AsyncDisposable {
  /** What `berth-launch` became. */
  readonly first: Server;
  /** Those that serve, the oldest first. */
  readonly pids: readonly number[];
}

function inOrder(lines: readonly string[]): number[] {
  return lines.map(Number).sort((a, b) => a - b);
}

/** Ends with its first process, and the processes that it has left are ended, too. */
async function start(
  broker: Parameters<typeof run>[0],
  script: string,
  mode: string,
  port: number,
): Promise<Background> {
  const first = run(broker, "game", ["python3", "-u", script, mode, String(port)]);
  const pids = inOrder(await first.said(mode === "prefork" ? 2 : 1));
  const exited = first.child.exitCode === null ? once(first.child, "exit") : undefined;
  if (mode === "prefork") first.child.stdin?.write("\n");
  await exited;
  const dispose = async (): Promise<void> => {
    for (const pid of pids) end(pid);
    await first.ended();
  };
  return { first, pids, [Symbol.asyncDispose]: dispose };
}

function end(pid: number): void {
  if (!(pid > 1)) throw new Error(`pid ${pid} is not that of one process`);
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

const game = (port: number, server = ""): Record<string, string> => ({
  "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }, server),
});

/** Whether the UDP socket that a process has on this port has O_NONBLOCK (proc_pid_fdinfo(5)). */
function isNonblocking(pid: number, port: number): boolean {
  const [inode] = inodesAt("udp", port);
  const fd = readdirSync(`/proc/${pid}/fd`).find(
    (name) => readlinkSync(`/proc/${pid}/fd/${name}`) === `socket:[${inode}]`,
  );
  const flags = /^flags:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
  return (Number.parseInt(flags, 8) & O_NONBLOCK) !== 0;
}

describe("a server that goes into the background", needs("root"), () => {
  it.each(["early", "late", "prefork"])("has its berth until the last of its processes has ended: %s", async (mode) => {
    const port = await freePort();
    await using test = await startBroker(game(port));
    const script = copyFixture(test.folder, "background.py");
    await using server = await start(test, script, mode, port);
    const [main = -1, ...rest] = server.pids;
    await seen(test, takenBy(main));
    expect(test.log.filter(({ event }) => event === "passed").at(-1)?.message).toMatch(
      new RegExp(`^berth game: pid \\d+ exited, and its server goes on: pid ${main} has the berth$`),
    );

    await using second = run(test, "game", ["/bin/true"]);
    await second.ended();
    expect(second.child.exitCode).toBe(1);
    expect(second.stderr).toMatch(new RegExp(`berth game is taken by pid ${main}`));
    expect((await askUdp(port, "?")).toString()).toMatch(/^\d+ \?$/);
    expect(isNonblocking(main, port)).toBe(true);

    end(main);
    for (const next of rest) {
      await seen(test, takenBy(next));
      expect(isNonblocking(next, port)).toBe(true);
      expect((await askUdp(port, "!")).toString()).toBe(`${next} !`);
      end(next);
    }
    await seen(test, vacant);
    using peer = await RawPeer.connect(test.socket);
    await peer.call("Acquire", { berth: "game" });
    expect(native.getfl(peer.fds[0]?.fd ?? -1) & O_NONBLOCK).toBe(0);
    expect(test.log.filter(({ event }) => event === "still-open")).toEqual([]);
  });

  it('leaves the berth with its first process where server.lease = "process", and its socket keeps O_NONBLOCK', async () => {
    const port = await freePort();
    await using test = await startBroker(game(port, 'lease = "process"'));
    const script = copyFixture(test.folder, "background.py");
    await using server = await start(test, script, "prefork", port);
    await seen(test, vacant);
    using peer = await RawPeer.connect(test.socket);
    await peer.call("Acquire", { berth: "game" });
    for (const pid of server.pids) expect(isNonblocking(pid, port)).toBe(true);
    expect(test.log.filter(({ event }) => event === "still-open").map(({ message }) => message)).toEqual([
      "berth game: another process still has socket game, so the socket keeps O_NONBLOCK; end that process",
    ]);
    expect((await askUdp(port, "?")).toString()).toMatch(/ \?$/);
  });

  it("keeps its berth when the broker is killed, without a store", async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config(game(port));
    const { child } = await dynasty.start();
    const script = copyFixture(dynasty.folder, "background.py");
    await using server = await start(dynasty, script, "prefork", port);
    const [main = -1, next = -1] = server.pids;
    await seen(dynasty, takenBy(main));
    const { lease } = await look(dynasty);
    child.kill("SIGKILL");
    await dynasty.broker.exited;
    await dynasty.start();
    expect(await look(dynasty)).toMatchObject({ state: "occupied", lease: { id: lease?.id, pid: main } });
    end(main);
    await seen(dynasty, takenBy(next));
    end(next);
    await seen(dynasty, vacant);
  });

  it("keeps its berth when its first process ends while there is no broker, and the service manager has a store", async () => {
    const port = await freePort();
    await using manager = new FakeManager({ max: 64 });
    manager.config("game.toml", game(port)["game.toml"] ?? "");
    const script = copyFixture(manager.folder, "background.py");
    await manager.start();
    await using first = run(manager, "game", ["python3", "-u", script, "prefork", String(port)]);
    const [main = -1, next = -1] = inOrder(await first.said(2));
    await seen(manager, takenBy(first.pid));
    await manager.end();
    const exited = once(first.child, "exit");
    first.child.stdin?.write("\n");
    await exited;
    await manager.start();
    await seen(manager, takenBy(main));
    expect(manager.log.map(({ message }) => message).join("\n")).not.toMatch("no longer has it");

    // What is stored is of the process that has it now.
    await manager.end();
    await manager.start();
    await seen(manager, takenBy(main));
    end(main);
    await seen(manager, takenBy(next));
    end(next);
    await seen(manager, vacant);
    await expect.poll(() => manager.names.filter((name) => /^(lease|binds)\./.test(name))).toEqual([]);
  });

  it("keeps its berth when another broker takes over", async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config(game(port));
    await dynasty.start();
    const script = copyFixture(dynasty.folder, "background.py");
    await using server = await start(dynasty, script, "prefork", port);
    const [main = -1, next = -1] = server.pids;
    await seen(dynasty, takenBy(main));
    await dynasty.replace();
    expect(await look(dynasty)).toMatchObject(takenBy(main));
    end(main);
    await seen(dynasty, takenBy(next));
    end(next);
    await seen(dynasty, vacant);
  });
});

it("Wesnoth's own daemon has its berth", needs("root", "wesnothd-1.16"), async () => {
  const port = await freePort();
  const files = { "game.toml": berth({ game: [`tcp://127.0.0.1:${port}`, `tcp://[::1]:${port}`] }) };
  await using test = await startBroker(files);
  await using server = run(test, "game", [pathOf("wesnothd-1.16"), "-d", "-p", String(port)]);
  await once(server.child, "exit");
  const hello = "\0\0\0\0";
  expect(await askTcp(port, hello, (answer) => answer.length >= 4)).toMatch(/^\0\0\0/);
  await expect.poll(async () => (await look(test)).lease?.pid).not.toBe(server.pid);
  const pid = (await look(test)).lease?.pid ?? -1;
  expect(socketsOf(pid)).toEqual(expect.arrayContaining(inodesAt("tcp", port)));
  end(pid);
  await seen(test, vacant);
});
