/** What users are charged for, and how a message names them. */
import { expect, it } from "vitest";
import { DEFAULT_QUOTA, describeUser, Quota } from "../../../src/broker/access/limits/quota.ts";

it("an account is charged up to its limit, each resource and each account on its own", () => {
  const quota = new Quota({ connections: 2, stash: 1, interceptions: 0 });
  expect([1, 2, 3].map(() => quota.charge("connections", 1000))).toEqual([true, true, false]);
  expect(quota.used("connections", 1000)).toBe(2);
  expect([quota.charge("stash", 1000), quota.charge("connections", 1001)]).toEqual([true, true]);
  expect([quota.charge("interceptions", 1000), quota.used("interceptions", 1000)]).toEqual([false, 0]);
});

it("a charge that is taken back can be made again", () => {
  const quota = new Quota({ connections: 2, stash: 1, interceptions: 1 });
  for (let charged = 0; charged < 2; charged++) quota.charge("connections", 1000);
  quota.refund("connections", 1000);
  expect([quota.used("connections", 1000), quota.charge("connections", 1000)]).toEqual([1, true]);
  quota.refund("connections", 1000);
  quota.refund("connections", 1000);
  expect(quota.used("connections", 1000)).toBe(0);
  quota.refund("connections", 1000);
  expect(quota.used("connections", 1000)).toBe(0);
});

it("users share the limits of an account only when told so", () => {
  expect(new Quota().limits).toEqual({ connections: 256, stash: 1024, interceptions: 1024 });
  expect(new Quota().accountOf(1000)).toBe(1000);
  expect(new Quota(DEFAULT_QUOTA, () => 7).accountOf(1000)).toBe(7);
});

it("a message names the user, and the account where it is another", () => {
  expect(describeUser(1000, 1000)).toBe("uid 1000");
  expect(describeUser(100_005, 1000)).toBe("uid 100005, which counts as uid 1000,");
});
