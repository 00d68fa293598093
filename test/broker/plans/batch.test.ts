import { expect, onTestFinished, test } from "vitest";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { Batch } from "../../../src/broker/plans/batch.ts";
import { runGuarded } from "../../../src/broker/plans/guarded-plan.ts";
import type { SocketCall, SocketPlan, SocketResult } from "../../../src/broker/plans/socket-call.ts";
import { native } from "../../../src/native.ts";
import { IPPROTO_TCP, SO_BROADCAST, SO_TYPE, SOL_SOCKET } from "../../../src/net/socket-constants.ts";

const TCP_CONGESTION = 13;

const calls: readonly SocketCall[] = [
  { call: "getsockopt", level: SOL_SOCKET, option: SO_TYPE, words: 1 },
  { call: "getsockopt", level: SOL_SOCKET, option: SO_BROADCAST, words: 1 },
  { call: "getsockopt", level: IPPROTO_TCP, option: TCP_CONGESTION, words: 4 },
  { call: "getpeername" },
];

function* once(batch: Batch): SocketPlan<SocketResult | undefined> {
  const [result] = yield [{ call: "batch", batch }];
  return result;
}

test("the results are the same whether they were expected or not, and a change is always seen", async () => {
  const guard = new Guard({ sys: native, log: () => undefined });
  const fd = native.socket(2, 1, 0);
  onTestFinished(() => {
    guard[Symbol.dispose]();
    native.close(fd);
  });
  const look = async (batch: Batch): Promise<SocketResult | undefined> => {
    const outcome = await runGuarded(once(batch), fd, guard, 1);
    if (typeof outcome === "string") throw new Error(outcome);
    return outcome.value;
  };
  const values = (batch: Batch, result: SocketResult | undefined): unknown =>
    batch.read(result).map((each) => [each.result, ...each.value]);
  const batch = new Batch(calls);

  const first = await look(batch);
  expect(batch.isExpected(first)).toBe(false);
  expect(batch.read(first).map(({ result }) => result)).toEqual([0, 0, 0, -107]);
  expect(batch.read(first)[0]?.value).toEqual(Int32Array.of(1));
  batch.expect(first);

  const second = await look(batch);
  expect(batch.isExpected(second)).toBe(true);
  expect(values(batch, second)).toEqual(values(batch, first));
  batch.expect(second);
  expect(batch.isExpected(await look(batch))).toBe(true);

  native.setsockopt(fd, SOL_SOCKET, SO_BROADCAST, 1);
  const third = await look(batch);
  expect(batch.isExpected(third)).toBe(false);
  expect(batch.read(third).map(({ value }) => value[0])).toMatchObject({ 0: 1, 1: 1 });
});
