/** `berth upgrade` of several berths that is interrupted or killed at each step, and then goes on. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, type Ended, endServers, imageTemplate, withoutSystemd } from "./support.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const POOL = "0x61200000-0x612fffff";
/** Says that it is ready, and takes a moment to end. */
const server = `exec python3 -S -c '
import os, signal, socket, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(0)))
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ["NOTIFY_SOCKET"]
notify.sendto(b"READY=1", "\\0" + address[1:] if address.startswith("@") else address)
while True: signal.pause()
'
`;
const NAMES = ["arena@a", "arena@b", "arena@c"];

interface Listed {
  readonly name: string;
  readonly lease?: { readonly pid: number };
  readonly ready?: boolean;
  readonly drain?: object;
  readonly root: { readonly images: readonly string[] };
}

describe("berth upgrade of three berths, two at once", needs("root", "unshare"), () => {
  const folder = new TestFolder({ "one/run": server, "two/run": server });
  let broker: BrokerProcess;

  const run = (words: readonly string[], onStart?: (child: ChildProcess) => void): Promise<Ended> =>
    withoutSystemd(words, { BERTHD_SOCKET: broker.socket }, onStart);

  async function listed(): Promise<readonly Listed[]> {
    return JSON.parse((await run(["ls", "--json"])).stdout);
  }

  beforeAll(async () => {
    const state = join(folder.path, "state");
    for (const version of ["two", "one"])
      await berth(["image", "import", "arena", join(folder.path, version), "--version", version, "--state", state]);
    const files = Object.fromEntries(NAMES.map((name) => [`${name}.toml`, ""]));
    broker = await spawnBroker({ "arena@.toml": imageTemplate, ...files }, ["--state", state, "--ranges", POOL]);
    expect(await run(["image", "use", "arena@one"])).toMatchObject({ code: 0 });
    expect(await run(["start", "arena@*"])).toMatchObject({ code: 0, stderr: "" });
    // Then every upgrade waits until its new server says so, too.
    await vi.waitFor(async () => expect((await listed()).every(({ ready }) => ready === true)).toBe(true), 30_000);
  });
  afterAll(async () => {
    await endServers(broker.socket);
    await broker[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** Runs it until the broker logs such an event, and sends the signal then. */
  async function interrupt(words: readonly string[], event: string, signal: NodeJS.Signals): Promise<Ended> {
    const from = broker.log.length;
    let child: ChildProcess | undefined;
    const ended = run(words, (one) => {
      child = one;
    });
    const isSeen = (): boolean => broker.log.slice(from).some((line) => line["event"] === event);
    await expect.poll(isSeen, { timeout: 60_000 }).toBe(true);
    child?.kill(signal);
    return await ended;
  }

  const [draining, stopping, started] = ["drain", "stopping", "acquired"] as const;
  const cases = [
    ["SIGINT", "while the first ones drain", draining],
    ["SIGINT", "while the first old servers are being stopped", stopping],
    ["SIGINT", "when the first new server has started", started],
    ["SIGKILL", "while the first old servers are being stopped", stopping],
  ] as const;
  /** Only by `npm run prove:upgrades`. */
  const more = [
    ["SIGKILL", "while the first ones drain", draining],
    ["SIGKILL", "when the first new server has started", started],
  ] as const;
  const isProof = process.env["BERTHD_TEST_UPGRADES"] !== undefined;
  let version = "one";

  test.each([...cases, ...(isProof ? more : [])])("goes on after %s %s", async (signal, _, event) => {
    version = version === "one" ? "two" : "one";
    const words = (deadline: string): string[] => [
      ...["upgrade", "--image", `arena@${version}`, "--deadline", deadline, "--max-parallel", "2", "arena@*"],
    ];
    const before = await listed();
    expect((await interrupt(words(event === draining ? "30s" : "1s"), event, signal)).code).toBeNull();
    if (signal === "SIGINT") {
      const after = await listed();
      // Each has its old server, which goes on, or its new one.
      expect(after.filter(({ lease, drain }) => lease && !drain).map(({ name }) => name)).toEqual(NAMES);
      const isOld = (name: string, pid: number | undefined): boolean =>
        before.some((one) => one.name === name && one.lease?.pid === pid);
      const isAll = event === draining ? [true, true, true] : expect.arrayContaining([true, false]);
      expect(after.map(({ name, lease }) => isOld(name, lease?.pid))).toEqual(isAll);
    }
    const again = await run(words("1s"));
    expect(again).toMatchObject({ code: 0, stderr: "" });
    // Nobody starts the server of a berth that became vacant after the command was killed.
    if (signal === "SIGKILL") expect(await run(["start", "arena@*"])).toMatchObject({ code: 0, stderr: "" });
    expect(again.stdout.trimEnd().split("\n")).toHaveLength(NAMES.length);
    const now = await listed();
    expect(now.map(({ lease, root }) => [lease !== undefined, root.images])).toEqual(
      NAMES.map(() => [true, [`arena@${version}`]]),
    );
    expect(new Set(now.map(({ lease }) => lease?.pid)).size).toBe(NAMES.length);
  });
});
