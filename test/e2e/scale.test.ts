import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { FdHandle } from "../../src/fd.ts";
import { native, packageRoot, READABLE, RECEIVED_LENGTH } from "../../src/native.ts";
import { connectUnix } from "../../src/varlink/connect.ts";
import { type BrokerProcess, spawnBroker } from "../support/broker.ts";
import { expectFdsAgain, openFds } from "../support/fds.ts";
import { frame, RawPeer } from "../support/peer.ts";

/**
 * Resident memory of a process, and of that what is its own, in KiB (proc_pid_status(5)). The rest are files, above all
 * the Node binary: how much of them is mapped depends on how the page cache has come by them, 37 to 54 MB of one Node.
 */
function memory(pid: number): { all: number; own: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return { all: of("VmRSS"), own: of("RssAnon") + of("RssShmem") };
}

describe("1,000 berths of two sockets", () => {
  it("start, and are listed, every one once", async () => {
    const names = Array.from({ length: 1000 }, (_, n) => `berth-${String(n).padStart(4, "0")}`);
    const text = '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[sockets.b]\nlisten = ["udp://127.0.0.1:0"]\n';
    const files = Object.fromEntries(names.map((name) => [`${name}.toml`, text]));
    await using broker = await spawnBroker(files);
    using peer = await RawPeer.connect(broker.socket);
    const berths = (await peer.call("List"))?.parameters["berths"] as {
      name: string;
      descriptors: { address: string }[];
    }[];
    expect(berths.map(({ name }) => name).toSorted()).toEqual(names);
    const addresses = berths.flatMap(({ descriptors }) => descriptors.map(({ address }) => address));
    expect(new Set(addresses).size).toBe(2000);
    expect(openFds(broker.pid).length).toBeGreaterThan(2000);
  }, 60_000);
});

/** Acquires and releases `cycles` times over one connection; each release goes together with the next acquire. */
async function cycle(broker: BrokerProcess, cycles: number): Promise<void> {
  using socket = await connectUnix(broker.socket);
  const acquire = frame("Acquire", { berth: "a" });
  const received = new Int32Array(RECEIVED_LENGTH);
  const none = new Int32Array(0);
  const chunk = Buffer.alloc(4096);
  let length = 0;
  let done = 0;
  const send = (text: string): void => {
    expect(native.sendmsg(socket.fd, Buffer.from(text), 0, none, 0)).toBe(text.length);
  };
  /** Reads what there is; true when the last lease has been released. */
  const step = (): boolean => {
    const size = native.recvmsg(socket.fd, chunk, length, received);
    if (size <= 0) throw new Error(`recvmsg: ${size}`);
    for (const fd of received.subarray(2, 2 + (received[0] ?? 0))) FdHandle.adopt(fd).close();
    length += size;
    const replies = chunk.toString("latin1", 0, length).split("\0");
    if (replies.length < (done === 0 ? 2 : 3)) return false;
    const lease = /"lease":"([0-9a-f]+)"/.exec(replies.at(-2) ?? "")?.[1];
    if (lease === undefined) throw new Error(replies.join());
    length = 0;
    if (++done === cycles) return true;
    send(frame("Release", { lease }) + acquire);
    return false;
  };
  await new Promise<void>((resolve, reject) => {
    const poll = new native.Poll(socket.fd, () => {
      try {
        if (!step()) return;
        resolve();
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
      poll.close();
    });
    poll.start(READABLE);
    send(acquire);
  });
  using peer = await RawPeer.connect(broker.socket);
  const berths = (await peer.call("List"))?.parameters["berths"] as { lease?: { id: string } }[];
  expect((await peer.call("Release", { lease: berths[0]?.lease?.id }))?.error).toBeUndefined();
}

/** Becomes the command that follows, without huge pages: prctl(2), PR_SET_THP_DISABLE. */
const WITHOUT_HUGE_PAGES =
  "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0; os.execvp(sys.argv[1], sys.argv[1:])";

const collector = pathToFileURL(join(packageRoot, "test/fixtures/collect.mjs")).href;

/**
 * Its memory once it has collected its garbage: until that changes nothing more. When V8 does that, and how much it
 * keeps for later, is its own affair, and the machine's speed has a part in it: of Node 22's 22 MB, 9 are such.
 */
async function memoryInUse(broker: BrokerProcess): Promise<{ all: number; own: number }> {
  const collected = (): number => broker.log.filter(({ message }) => message.startsWith("collected ")).length;
  let before = memory(broker.pid);
  for (let round = 0; round < 20; round++) {
    const words = `collected ${collected() + 1}`;
    broker.child.kill("SIGUSR2");
    await broker.logged(({ message }) => message === words);
    const now = memory(broker.pid);
    if (Math.abs(now.own - before.own) < now.all / 100) return now;
    before = now;
    await setTimeout(250);
  }
  throw new Error("its memory does not settle");
}

/** Fewer where the gate has had as many already. */
const CYCLES = Number(process.env["BERTHD_TEST_CYCLES"] ?? 100_000);

describe("many acquire and release cycles", () => {
  it("leave the broker's descriptors and its memory where they were", async () => {
    await using broker = await spawnBroker(
      { "a.toml": '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[sockets.b]\nlisten = ["udp://127.0.0.1:0"]\n' },
      ["--log-level", "warning"],
      // What is left to chance otherwise: when V8 doubles its young generation, how many of its threads have something
      // left over in how many arenas of malloc(3), and which of all that the kernel finds worth huge pages meanwhile.
      [
        ...["python3", "-c", WITHOUT_HUGE_PAGES, "env", "MALLOC_ARENA_MAX=1"],
        `NODE_OPTIONS=--max-semi-space-size=1 --v8-pool-size=1 --import=${collector}`,
      ],
    );
    const before = openFds(broker.pid);
    await cycle(broker, 20_000);
    const warm = await memoryInUse(broker);
    await cycle(broker, CYCLES);
    await expectFdsAgain(before, broker.pid);
    const { own } = await memoryInUse(broker);
    // Both ways: memory that falls by much was not all in use before, and would hide a leak as large.
    expect(Math.abs(own - warm.own) / warm.all, `${warm.own} KiB before, ${own} KiB after`).toBeLessThan(0.1);
  }, 600_000);
});
