import { expect, it } from "vitest";
import { decodeLeaseFacts, encodeLeaseFacts, RECORD_SIZE } from "../../../src/broker/record/lease-facts.ts";

it.each([
  { pid: 7, uid: 1000, unit: undefined, ready: false, incoming: false },
  {
    pid: 8,
    uid: 0,
    unit: "a.service",
    since: 1_700_000_000_000_000,
    cgroup: "/sys/fs/cgroup/a.service",
    ready: true,
    incoming: false,
  },
  { pid: 4_194_304, uid: 4_294_967_294, unit: `${"ü".repeat(120)}.service`, ready: true, incoming: true },
])("what is written is read back: $pid", (facts) => {
  const page = encodeLeaseFacts(facts);
  expect(page.length).toBe(RECORD_SIZE);
  expect(decodeLeaseFacts(page)).toEqual(facts);
});

it.each([
  "",
  "null",
  "7",
  "{",
  '{"pid":1}',
  '{"pid":1,"uid":2,"ready":"yes","incoming":false}',
  '{"pid":1,"uid":2,"ready":true,"incoming":false,"unit":7}',
  '{"pid":1,"uid":2,"ready":true,"incoming":false,"cgroup":7}',
])("%j is no facts", (text) => {
  const page = Buffer.alloc(RECORD_SIZE);
  page.write(text);
  expect(decodeLeaseFacts(page)).toBeUndefined();
});
