/** `berth start` and `berth restart` where systemd does not run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startHere } from "../../src/cli/own-start.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { isRoot, needs } from "../support/needs.ts";
import { berth, endServersWithTest, withoutSystemd } from "./support.ts";

const user = isRoot ? 'user = "nobody"\n' : "";
const berthOf = (command: string): string =>
  `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[server]\n${user}command = ["sh", "-c", '${command}']\n`;
const files = {
  "arena.toml": berthOf("echo serving; exec sleep 1000"),
  "broken.toml": berthOf("echo no map >&2; exit 3"),
};

/** A zombie has ended: the process that reaps orphans here may be slow. */
function isRunning(pid: string | undefined): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

test(
  "start and restart run a server that outlives the command, with a log, and stop ends it",
  needs("root", "unshare"),
  async () => {
    using state = new TestFolder();
    await using broker = await spawnBroker(files, ["--state", state.path]);
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const first = await withoutSystemd(["start", "arena"], env);
    const [, pid] = /^arena: started pid (\d+)\n$/.exec(first.stdout) ?? [];
    expect(first).toEqual({ code: 0, stdout: `arena: started pid ${pid}\n`, stderr: "" });
    expect((await withoutSystemd(["start", "arena"], env)).stdout).toBe(`arena: runs already, as pid ${pid}\n`);
    const second = await withoutSystemd(["restart", "--json", "arena"], env);
    const [{ pid: next }] = JSON.parse(second.stdout);
    expect(String(next)).not.toBe(pid);
    expect(isRunning(pid)).toBe(false);
    const { stdout } = await berth(["logs", "--json", "--state", state.path, "arena"]);
    const said = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(said.filter(({ message }) => message === "serving").map((line) => String(line.pid))).toEqual([
      pid,
      String(next),
    ]);
    expect((await berth(["stop", "arena"], env)).stdout).toBe(`arena: stopped pid ${next}\n`);
  },
);

test("a server that does not start is a sentence with its reason, and its words are in the log", async () => {
  using state = new TestFolder();
  await using broker = await spawnBroker(files, ["--state", state.path]);
  const never = new AbortController().signal;
  const failed = startHere("broken", { socket: broker.socket }, never);
  await expect(failed).rejects.toMatchObject({
    code: "SYSTEM_ERROR",
    message: "the server of berth broken did not start: it ended with status 3; see: berth logs broken",
  });
  const log = join(state.path, "logs/broken.log");
  await expect.poll(() => readFileSync(log, "utf8")).toMatch(/ server\[\d+\]: no map\n[^\n]+ has ended\n$/);
});

test("without a log it starts nothing, and names another way", async () => {
  using state = new TestFolder({ logs: "a file" });
  await using broker = await spawnBroker(files, ["--state", state.path]);
  const failed = startHere("arena", { socket: broker.socket }, new AbortController().signal);
  await expect(failed).rejects.toThrow(
    `cannot write the server's log to ${join(state.path, "logs")}: EEXIST; start it as the broker's user, or in this terminal: berth run arena`,
  );
  expect((await berth(["ls"], { BERTHD_SOCKET: broker.socket })).stdout).not.toContain("occupied");
});
