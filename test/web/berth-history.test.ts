/** `berth history`, and berth-web as the tenant that it usually is. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, vi } from "vitest";
import { bestHourText, historyCsv, historyTable, sparkline } from "../../src/cli/history/history-text.ts";
import { bestHourOf, stepsOf } from "../../src/cli/history/past.ts";
import { packageRoot } from "../../src/native.ts";
import { spawnBroker } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { ask, startWeb } from "../support/web/web-process.ts";

const run = promisify(execFile);
const user = process.getuid?.() === 0 ? 'user = "root"' : "";

async function berth(args: readonly string[], socket?: string) {
  const env = { ...process.env, ...(socket !== undefined && { BERTHD_SOCKET: socket }) };
  return run(process.execPath, [join(packageRoot, "dist/berth/berth.cjs"), ...args], { env });
}

const series = {
  start: 1_000_300_000,
  step: 600_000,
  players: { mean: [null, 2, 4], high: [null, 3, 8] },
  cpu: { mean: [null, 0.5, 0.25], high: [null, 0.5, 1.5] },
  memory: { mean: [null, 1048576, 3145728], high: [null, 1048576, 3145728] },
};

describe("the past of a berth", () => {
  it("is a table with mean, highest and sparkline", () => {
    const table = historyTable(stepsOf(series, 0), false);
    expect(table.split("\n").map((line) => line.trimEnd().split(/ {2,}/))).toEqual([
      ["", "MEAN", "HIGH"],
      ["players", "3", "8", "▄█"].flatMap((one, at) => (at === 3 ? [expect.stringContaining(one)] : [one])),
      ["CPU%", "37.5", "150", expect.stringContaining("█▄")],
      ["memory", "2.0 MiB", "3.0 MiB", expect.stringContaining("▃█")],
      [""],
    ]);
  });

  it("is CSV, with nothing where nothing is known, from the time on that was asked for", () => {
    expect(historyCsv(stepsOf(series, 1_000_000_000 + 600_000))).toBe(
      "time,players,players_high,cpu,cpu_high,memory,memory_high\n" +
        "1970-01-12T13:56:40.000Z,2,3,0.5,0.5,1048576,1048576\n" +
        "1970-01-12T14:06:40.000Z,4,8,0.25,1.5,3145728,3145728\n",
    );
  });

  it("names the best hour with the command for it, when it is known", () => {
    const best = { weekday: 1, hour: 5, mean: 0.34, high: 2, next: 5 };
    const text = bestHourText(bestHourOf({ best, remedy: { what: "x", command: "berth restart arena" } }), true);
    expect(text).toBe("The best hour for a restart: Tuesday, 05:00 (0.3 players on average).\n  berth restart arena\n");
    expect(bestHourText(bestHourOf({ best: null }), true)).toMatch(/not known yet: that takes two weeks/);
    expect(bestHourText(undefined, false)).toMatch(/not known yet: no players were measured; set server.query/);
  });

  it("is refused where the answer is not understood", () => {
    expect(() => stepsOf({ ...series, step: 0 }, 0)).toThrow(/not understood/);
    expect(() => stepsOf({ ...series, cpu: null }, 0)).toThrow(/not understood/);
    expect(() => bestHourOf({ best: { weekday: "1" } })).toThrow(/not understood/);
  });

  it("has the highest values in a sparkline that is too short for all", () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 8], 4)).toBe("▁▃▅█");
    expect(sparkline([null, 8, 0], 9)).toBe(" █▁");
    expect(sparkline([0, 0], 9)).toBe("▁▁");
    expect(sparkline([], 9)).toBe("");
  });
});

it("berth history shows a berth of berth-web, as text, JSON and CSV", { timeout: 60_000 }, async () => {
  await using broker = await spawnBroker({
    "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[server]\ncommand = ["true"]\n${user}\n`,
  });
  await using web = await startWeb(broker.socket, ["--history", join(broker.folder.path, "h.db")]);
  await vi.waitFor(async () => expect((await ask(web, "/api/v1/overview")).body).toContain('"arena"'), 30_000);
  // The history knows a berth once something has happened on it.
  await berth(["run", "arena"], broker.socket);
  const at = ["history", "arena", "--web", web.base];
  await vi.waitFor(
    async () =>
      expect((await berth(at)).stdout).toMatch(
        /^berth-web has no players, processor time or memory of arena since \d{4}-/,
      ),
    30_000,
  );
  expect((await berth(at)).stdout).toMatch(/\nIt measures while a server runs: players if the berth has server.query/);
  expect(JSON.parse((await berth([...at, "--json", "--since", "12h"])).stdout)).toMatchObject({
    berth: "arena",
    best: null,
  });
  expect((await berth([...at, "--csv", "--since", "1h"])).stdout.split("\n").length).toBeGreaterThan(6);
  await expect(berth(["history", "other", "--web", web.base])).rejects.toMatchObject({
    code: 111,
    stderr: expect.stringMatching(/berth-web knows no berth other/),
  });
});

it("berth history says what to do when berth-web is not there, or asks for a token, or is something else", async () => {
  const port = await freePort();
  await expect(berth(["history", "arena", "--web", `http://127.0.0.1:${port}`])).rejects.toMatchObject({
    code: 111,
    stderr: expect.stringMatching(/does not answer at http:.*ECONNREFUSED.*start it: berth start web/),
  });
  await expect(berth(["history", "arena", "--web", "ftp://x"])).rejects.toMatchObject({
    code: 100,
    stderr: expect.stringMatching(/--web ftp:\/\/x is not an address/),
  });
  const other = createServer((request, response) => {
    response.statusCode = request.headers.authorization === "Bearer right" ? 200 : 401;
    response.end("<html>");
  }).listen(0, "127.0.0.1");
  await once(other, "listening");
  const address = other.address();
  const at = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  await expect(berth(["history", "arena", "--web", at])).rejects.toMatchObject({
    stderr: expect.stringMatching(/status 401; give it with --token-file FILE/),
  });
  await new Promise((resolve) => other.close(resolve));
});

it("berth-web serves on the socket of its berth, as examples/web.toml has it", needs("root"), async () => {
  const port = await freePort();
  const program = join(packageRoot, "packages/web/dist/server/main.js");
  await using broker = await spawnBroker({
    "web.toml": readFileSync(join(packageRoot, "examples/web.toml"), "utf8"),
    "web.toml.d/test.toml": `[sockets.http]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\ncommand = ["${process.execPath}", "${program}"]\nuser = "root"\n`,
  });
  const env = { ...process.env, BERTHD_SOCKET: broker.socket };
  const child = execFile(process.execPath, [join(packageRoot, "dist/berth/berth.cjs"), "run", "web"], { env });
  const ended = once(child, "close");
  try {
    await vi.waitFor(async () => {
      expect((await ask({ port }, "/api/v1/overview")).body).toContain('"name":"web","state":"serving"');
    }, 30_000);
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
});
