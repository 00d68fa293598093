/** What an agent says of its orders about files, to etcd and in its log, where they or etcd fail. etcd is made up. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Copies } from "../../../packages/fleet/src/agent/copies/copies.ts";
import type { Change } from "../../../packages/fleet/src/etcd/messages.ts";
import { type Etcd, Fault, Keys } from "../../../packages/fleet/src/index.ts";
import type { CopyOrder } from "../../../packages/fleet/src/model/copy.ts";

const unused = (): never => {
  throw new Error("is not called here");
};

describe("the orders about files", () => {
  const keys = new Keys();
  const key = keys.of({ kind: "copied", host: "h1", berth: "a-1" });
  let stop: AbortController;
  let copies: Copies;
  let running: Promise<void>;
  let said: string[];
  /** What etcd has taken: the steps and states of reports, and `removed`. */
  let taken: string[];
  /** What etcd fails with. */
  let failure: Error | undefined;
  let lease: bigint | undefined;

  const take = (change: Change): string => {
    if ("remove" in change) return `removed ${JSON.stringify(change.remove)}`;
    const { step, state, why } = JSON.parse(change.value);
    return `${step} ${state}${why === undefined ? "" : `: ${why}`} with lease ${change.lease}`;
  };
  const etcd: Etcd = {
    commit: async (_, changes) => {
      if (failure !== undefined) throw failure;
      taken.push(...changes.map(take));
      return { done: true, revision: 2 };
    },
    read: unused,
    grant: unused,
    keepAlive: unused,
    revoke: unused,
    watch: unused,
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    stop = new AbortController();
    [said, taken, failure, lease] = [[], [], undefined, 7n];
    copies = new Copies(
      etcd,
      keys,
      "h1",
      undefined,
      () => lease,
      (sentence) => said.push(sentence),
    );
    running = copies.run(stop.signal);
  });
  afterEach(async () => {
    failure = undefined;
    stop.abort();
    await vi.runAllTimersAsync();
    await running;
    vi.useRealTimers();
  });

  const order = (step: number): CopyOrder => ({
    ...{ berth: "a-1", generation: 1, id: "0123456789abcdef", step },
    task: { do: "save" },
  });
  const ordered = async (...orders: CopyOrder[]): Promise<void> => {
    copies.wanted = new Map(orders.map((one) => [one.berth, one]));
    await vi.advanceTimersByTimeAsync(0);
  };
  const WHY = "its agent has no --state-socket and no --store";
  const removed = `removed ${JSON.stringify({ key })}`;

  it("fail on a host that moves no files, and the report goes with the order", async () => {
    await ordered(order(1));
    expect(taken).toEqual(["1 working with lease 7", `1 failed: ${WHY} with lease 7`]);
    expect(said).toEqual([`a-1: save failed: ${WHY}`]);
    await ordered(order(1));
    expect(taken.length).toBe(2);
    await ordered(order(2));
    expect(taken.slice(2)).toEqual([removed, "2 working with lease 7", `2 failed: ${WHY} with lease 7`]);
    await ordered();
    expect(taken.at(-1)).toBe(removed);
  });

  it("have their last report as soon as etcd answers and the host has its lease", async () => {
    lease = undefined;
    await ordered(order(1));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(taken).toEqual([]);
    lease = 8n;
    failure = new Fault("ETCD_UNREACHABLE", "etcd does not answer");
    await vi.advanceTimersByTimeAsync(5_000);
    failure = new Fault("ETCD_REFUSED", "etcd refused: the lease is gone");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(taken).toEqual([]);
    failure = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(taken).toEqual([`1 failed: ${WHY} with lease 8`]);
  });

  it.each([new Fault("ETCD_DENIED", "our user of etcd does not have the right: put"), new Error("a defect")])(
    "that cannot be reported are told to the operator, and the next one is done: %s",
    async (error) => {
      failure = error;
      await ordered(order(1));
      expect(said.at(-1)).toBe(`a-1: ${error}`);
      expect(taken).toEqual([]);
      failure = undefined;
      await ordered(order(2));
      expect(taken.slice(-2)).toEqual(["2 working with lease 7", `2 failed: ${WHY} with lease 7`]);
    },
  );
});
