import { expect, it } from "vitest";
import {
  decodeLeaseFacts,
  encodeLeaseFacts,
  type LeaseFacts,
  RECORD_SIZE,
} from "../../../src/broker/record/lease-facts.ts";

it.each<LeaseFacts>([
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
  {
    pid: 9,
    uid: 0,
    unit: undefined,
    ready: true,
    incoming: false,
    drain: { began: 1_700_000_000_000_000, deadline: 12_345.678, uid: 1000, privileged: false },
  },
  {
    pid: 10,
    uid: 0,
    unit: undefined,
    ready: true,
    incoming: false,
    drain: { began: 1, deadline: undefined, uid: 0, privileged: true, queues: true },
  },
  {
    ...{ pid: 11, uid: 0, unit: undefined, ready: true, incoming: false },
    drain: { began: 1, deadline: undefined, uid: 0, privileged: true, queues: true, refuses: true },
  },
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

it.each(["7", "null", "{}", '{"began":1,"uid":0}', '{"began":1,"uid":0,"privileged":true,"deadline":"soon"}'])(
  "a drain %j that cannot be read is none, and the lease is as it was",
  (drain) => {
    const page = Buffer.alloc(RECORD_SIZE);
    page.write(`{"pid":1,"uid":2,"ready":true,"incoming":false,"drain":${drain}}`);
    expect(decodeLeaseFacts(page)).toEqual({ pid: 1, uid: 2, ready: true, incoming: false });
  },
);
