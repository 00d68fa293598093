/** What the lists of one server may take of berth-sdk's memory. */
import { expect, it } from "vitest";
import { Tallies } from "../../../packages/fleet/src/sdk/model/tallies.ts";

const values = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => String(from + index).padEnd(256, "x"));

it("is 256 KiB of values; whatever is removed makes room", () => {
  const tallies = new Tallies();
  const update = (name: string, all: string[]) =>
    tallies.updateList({ name, capacity: 0, values: all, paths: ["values"] });
  update("a", values(0, 1000));
  update("b", values(0, 24));
  expect(() => tallies.addValue("b", "one more")).toThrow(/256 KiB/);
  expect(() => update("c", ["c"])).toThrow(/256 KiB/);
  expect(tallies.list("c").values).toEqual([]);
  tallies.removeValue("a", values(7, 1)[0] ?? "");
  expect(tallies.addValue("b", "one more").values).toHaveLength(25);
  // In bytes: two for each of these.
  expect(() => update("c", ["é".repeat(200)])).toThrow(/256 KiB/);
});
