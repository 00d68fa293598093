import { expect, it } from "vitest";
import { LATENCY_BOUNDS, Latency } from "../../../src/broker/counts/latency.ts";

it("a call is in the bucket of each bound that it does not exceed, and in the last one anyway", () => {
  const latency = new Latency();
  for (const milliseconds of [0, 0.01, 0.011, 7, 60_000]) latency.note(milliseconds);
  const buckets = new Map(latency.buckets);
  expect(LATENCY_BOUNDS[0]).toBe(0.000_01);
  expect(buckets.get("0.00001")).toBe(2);
  expect(buckets.get("0.000025")).toBe(3);
  expect(buckets.get("0.005")).toBe(3);
  expect(buckets.get("0.01")).toBe(4);
  expect(buckets.get("10")).toBe(4);
  expect(buckets.get("+Inf")).toBe(5);
  expect(latency.calls).toBe(5);
  expect(latency.seconds).toBeCloseTo(60.007_021, 6);
});
