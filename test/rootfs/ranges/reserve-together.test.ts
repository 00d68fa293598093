/** First reservations that are asked for at the same moment share one write, and each gets its own error. */
import { expect, it } from "vitest";
import { BerthError } from "../../../src/errors.ts";
import { type Range, rangeAt } from "../../../src/rootfs/ranges/range.ts";
import { ReserveTogether, type Reserving } from "../../../src/rootfs/ranges/reserve-together.ts";

const FIRST = 524_288;

/** Reservations in memory, and the owners of each write. An owner `full` gets none. */
class Memory implements Reserving {
  readonly writes: string[][] = [];
  readonly #ranges = new Map<string, Range>();

  knows(owner: string): boolean {
    return this.#ranges.has(owner);
  }

  reserve(owner: string, wanted?: number): Range {
    if (!this.knows(owner)) this.reserveAll(new Map([[owner, wanted]]));
    const range = this.#ranges.get(owner);
    if (range === undefined) throw new Error("it was not reserved");
    return range;
  }

  reserveAll(wanted: ReadonlyMap<string, number | undefined>): void {
    if (wanted.has("full")) throw new BerthError("RANGE_UNAVAILABLE", "the pool is full");
    this.writes.push([...wanted.keys()]);
    for (const [owner, base] of wanted) this.#ranges.set(owner, rangeAt(base ?? FIRST + 65_536 * this.#ranges.size));
  }
}

it("reserves for all that ask before the next write, and answers at once from then on", async () => {
  const memory = new Memory();
  const together = new ReserveTogether(memory);
  const asked = [together.reserve("a"), together.reserve("b", 65_536), together.reserve("a")];
  expect(memory.writes).toEqual([]);
  await Promise.all(asked);
  expect(memory.writes).toEqual([["a", "b"]]);
  expect(together.reserve("a")).toEqual(rangeAt(FIRST));
  expect(together.reserve("b", 65_536)).toEqual(rangeAt(65_536));
  expect(memory.writes).toHaveLength(1);
});

it("waits for those who ask while the event loop still brings some", async () => {
  const memory = new Memory();
  const together = new ReserveTogether(memory);
  const asked = [together.reserve("a")];
  await new Promise((resolve) => setImmediate(resolve));
  asked.push(together.reserve("b"));
  await Promise.all(asked);
  expect(memory.writes).toEqual([["a", "b"]]);
});

it("gives the reason to the one whose range cannot be had, and a range to the others", async () => {
  const memory = new Memory();
  const together = new ReserveTogether(memory);
  await Promise.all([together.reserve("a"), together.reserve("full"), together.reserve("b")]);
  expect(together.reserve("a")).toEqual(rangeAt(FIRST));
  expect(() => together.reserve("full")).toThrow("the pool is full");
  expect(together.reserve("b")).toEqual(rangeAt(FIRST + 65_536));
  expect(memory.writes).toEqual([["a"], ["b"]]);
});

it("writes nothing once it is closed, and those who wait are not left waiting", async () => {
  const memory = new Memory();
  const together = new ReserveTogether(memory);
  const asked = together.reserve("a");
  together.close();
  await asked;
  expect(memory.writes).toEqual([]);
});
