/** Text that somebody wrote to etcd does not reach an operator's terminal as control characters. */
import { expect, it, vi } from "vitest";
import { printLine, sayer, table } from "../../packages/fleet/src/cli/common.ts";
import { EtcdClient, Fleet, Keys } from "../../packages/fleet/src/index.ts";
import { TestEtcd } from "../support/fleet/etcd.ts";
import { runFleet } from "../support/fleet/host.ts";
import { addHost, report, setOf } from "../support/fleet/made-up.ts";
import { needs } from "../support/needs.ts";

const evil = "occupied\u001b]0;OWNED\u0007\u009b2J\u202e\nall is well";
const shown = "occupied\\u001b]0;OWNED\\u0007\\u009b2J\\u202e\\u000aall is well";

it("in a table", () => {
  expect(table(["BERTH", "STATE"], [["a-1", evil]])).toBe(`${"BERTH"}  STATE\na-1    ${shown}\n`);
});

it("in a line of a stream, and as JSON of the same value", () => {
  const written = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  const stop = { signal: new AbortController().signal, abort: () => undefined, [Symbol.dispose]: () => undefined };
  printLine(evil, stop);
  printLine(JSON.stringify({ evil }), stop);
  const lines = written.mock.calls.map(([line]) => String(line));
  written.mockRestore();
  expect(lines[0]).toBe(`${shown}\n`);
  expect(lines[1]).not.toMatch(/[\u007f-\u009f\u202e]/);
  expect(JSON.parse(lines[1] ?? "")).toEqual({ evil });
});

it("in what the agent says", () => {
  const written = vi.spyOn(console, "error").mockImplementation(() => undefined);
  sayer({})(evil);
  const [call] = written.mock.calls;
  written.mockRestore();
  expect(call).toEqual(["berth-fleet: %s", shown]);
});

it("in what a drain and a move say of a host's reason", { ...needs("etcd"), timeout: 60_000 }, async () => {
  await using etcd = await TestEtcd.start();
  using client = new EtcdClient([etcd.endpoint]);
  const keys = new Keys();
  const pools = [{ first: 1000, last: 1003 }];
  for (const name of ["h1", "h2"]) await addHost(client, keys, name, { pools });
  await new Fleet(client, keys).apply(setOf("duel"));
  const placed = async () => (await new Fleet(client, keys).view()).placements.get("duel-1")?.record;
  /** The berth leaves its host, and does not start on the other one, which is `to`. */
  const fail = async (from: string, to: string): Promise<void> => {
    const hold = keys.of({ kind: "hold", host: from, berth: "duel-1" });
    await expect.poll(async () => (await client.read({ key: hold })).lists[0].length, { timeout: 30_000 }).toBe(1);
    await report(client, keys, "duel", { state: "held" });
    await expect.poll(async () => (await placed())?.host, { timeout: 30_000 }).toBe(to);
    await report(client, keys, "duel", { state: "refused", why: evil });
  };
  const [moved] = await Promise.all([runFleet(etcd.endpoint, "move", "duel-1", "--deadline", "0"), fail("h1", "h2")]);
  expect(moved).toMatchObject({ code: 1, out: "" });
  expect(moved.err).toContain(`duel-1 did not start on h2: ${shown}; h1 has it again`);
  const [drained] = await Promise.all([runFleet(etcd.endpoint, "drain", "h1", "--deadline", "0"), fail("h1", "h2")]);
  expect(drained.err).toContain(`duel-1: stays on h1: duel-1 did not start on h2: ${shown}; h1 has it again`);
  const json = ["move", "duel-1", "--deadline", "0", "--json"];
  const [asJson] = await Promise.all([runFleet(etcd.endpoint, ...json), fail("h1", "h2")]);
  expect(asJson.err).not.toMatch(/[\u007f-\u009f\u202e]/);
  expect(JSON.parse(asJson.err).message).toContain(evil);
});
