/** Whose message is read next, with a clock and an event loop of the test's own. */
import { describe, expect, it } from "vitest";
import { QUANTUM_MS, SLICE_MS } from "../../../src/broker/access/limits/limits.ts";
import { Turns } from "../../../src/broker/access/limits/turns.ts";
import type { Turn } from "../../../src/wire.ts";

/** An event loop whose rounds the test starts, and reads that take as long as it says. */
function loop() {
  let now = 0;
  const due: (() => void)[] = [];
  const done: string[] = [];
  const turns = new Turns({ now: () => now, afterPoll: (run) => due.push(run) });
  return {
    turns,
    done,
    /** A read of so many milliseconds. */
    read: (name: string, ms: number) => () => {
      now += ms;
      done.push(name);
    },
    /** Runs what is due after the event loop has looked for messages. False if nothing was. */
    poll: (): boolean => {
      const runs = due.splice(0);
      for (const run of runs) run();
      return runs.length > 0;
    },
  };
}

describe("turns", () => {
  it("a lone user's reads happen at once until it has used its quantum, then in each round", () => {
    const { turns, done, read, poll } = loop();
    const connections = Array.from({ length: 6 }, () => turns.join(1, false));
    const atOnce = connections.map((turn, at) => turn.run(read(`${at}`, QUANTUM_MS / 2)));
    expect(atOnce).toEqual([true, true, false, false, false, false]);
    expect(poll()).toBe(true);
    expect(done).toEqual(["0", "1", "2", "3"]);
    expect(poll()).toBe(true);
    expect(done).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(poll()).toBe(false);
  });

  it("a user with 200 connections delays another by a slice at most", () => {
    const { turns, done, read, poll } = loop();
    for (let at = 0; at < 200; at++) turns.join(1, false).run(read("flood", QUANTUM_MS / 4));
    turns.join(2, false).run(read("victim", 0.01));
    expect(done.indexOf("victim")).toBe(4);
    poll();
    expect(turns.join(2, false).run(read("victim", 0.01))).toBe(true);
    expect(done.length).toBeLessThan(12);
  });

  it("a user whose reads wait comes before users who have used their quantum", () => {
    const { turns, done, read, poll } = loop();
    for (let user = 0; user < 10; user++) {
      for (let at = 0; at < 9; at++) turns.join(user, false).run(read("flood", SLICE_MS));
    }
    for (let round = 0; round < 12; round++) poll();
    const before = done.length;
    expect(turns.join(100, false).run(read("heavy", SLICE_MS))).toBe(true);
    expect(turns.join(200, false).run(read("victim", 0.01))).toBe(false);
    poll();
    expect(done.slice(before)).toEqual(["heavy", "victim", "flood"]);
  });

  it("what a read took beyond the quantum is paid in the next rounds", () => {
    const { turns, done, read, poll } = loop();
    turns.join(1, false).run(read("large", 3.5 * QUANTUM_MS));
    turns.join(1, false).run(read("next", 0.1));
    const rounds: boolean[] = [];
    while (!done.includes("next")) rounds.push(poll());
    expect(rounds).toEqual([true, true, true]);
  });

  it("root is served at once, whatever others have used, and its own flood delays others by a slice", () => {
    const { turns, done, read, poll } = loop();
    for (let user = 1; user < 50; user++) turns.join(user, false).run(read("flood", SLICE_MS));
    expect(turns.join(0, true).run(read("root", 0.1))).toBe(true);
    for (let at = 0; at < 100; at++) turns.join(0, true).run(read("root", QUANTUM_MS / 2));
    const before = done.length;
    poll();
    expect(done.slice(before).filter((name) => name === "root").length).toBeLessThanOrEqual(2);
    expect(done.slice(before).filter((name) => name === "flood").length).toBeGreaterThan(0);
  });

  it("a read of several messages stops between two when the quantum or the slice is used", () => {
    const { turns, done, read, poll } = loop();
    /** A read of messages of a tenth of a quantum each. */
    const many = (turn: Turn, name: string) => () => {
      do read(name, QUANTUM_MS / 10)();
      while (turn.goesOn());
    };
    const countOf = (name: string): number => done.filter((one) => one === name).length;
    for (let user = 1; user <= 3; user++) {
      const turn = turns.join(user, false);
      turn.run(many(turn, `${user}`));
    }
    // The slice is for two.
    expect([1, 2, 3].map((user) => Math.round(countOf(`${user}`) / 10))).toEqual([1, 1, 0]);
    poll();
    expect(Math.round(countOf("3") / 10)).toBe(1);
    const root = turns.join(0, true);
    root.run(read("small", QUANTUM_MS / 2));
    root.run(many(root, "root"));
    expect(Math.abs(countOf("root") - 5)).toBeLessThanOrEqual(1);
  });

  it("a connection that closes is not read any more, and forgets nothing of its user's other ones", () => {
    const { turns, done, read, poll } = loop();
    const [first, second, third] = [turns.join(1, false), turns.join(1, false), turns.join(1, false)];
    first.run(read("first", 2 * QUANTUM_MS));
    second.run(read("second", 0.1));
    third.run(read("third", 0.1));
    second.leave();
    second.leave();
    while (poll());
    expect(done).toEqual(["first", "third"]);
  });
});
