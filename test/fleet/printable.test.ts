/** What etcd contains cannot drive the terminal of who looks at it. */
import { expect, it, vi } from "vitest";
import { printLine, sayer, table } from "../../packages/fleet/src/cli/common.ts";

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
