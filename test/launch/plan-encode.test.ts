import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isListenFdName } from "../../src/launch/listen-fds.ts";
import type { Plan, Rlimit } from "../../src/launch/plan.ts";
import { encodePlan } from "../../src/launch/plan-encode.ts";

/** Reads a plan as native/launch/plan.h documents it, sharing nothing with the encoder. */
function decode(bytes: Buffer): Plan {
  expect(bytes.toString("latin1", 0, 8)).toBe("berthpln");
  expect(bytes.readUInt32LE(8)).toBe(1);
  expect(bytes.readUInt32LE(12)).toBe(bytes.length);
  const records = new Map<number, Buffer[]>();
  let last = 0;
  for (let at = 16; at < bytes.length; ) {
    const tag = bytes.readUInt32LE(at);
    const length = bytes.readUInt32LE(at + 4);
    expect(tag).toBeGreaterThanOrEqual(last);
    expect(at + 8 + length).toBeLessThanOrEqual(bytes.length);
    records.set(tag, [...(records.get(tag) ?? []), bytes.subarray(at + 8, at + 8 + length)]);
    at += 8 + length;
    last = tag;
  }
  const all = (tag: number): Buffer[] => records.get(tag) ?? [];
  const one = (tag: number): Buffer => {
    const [payload, ...others] = all(tag);
    if (payload === undefined || others.length > 0) throw new Error(`record ${tag} does not occur once`);
    return payload;
  };
  const text = (payload: Buffer, from = 0): string => {
    expect(payload.indexOf(0, from)).toBe(payload.length - 1);
    return payload.toString("utf8", from, payload.length - 1);
  };
  const soft = (value: bigint): Rlimit["soft"] => (value === 2n ** 64n - 1n ? "unlimited" : Number(value));
  const hard = (value: bigint): Rlimit["hard"] => (value === 2n ** 64n - 2n ? "keep" : soft(value));
  const flags = one(2).readUInt32LE(0);
  const kept = one(4).readBigUInt64LE(0);
  const ids = all(9).map((payload) =>
    Array.from({ length: payload.length / 4 }, (_, i) => payload.readUInt32LE(4 * i)),
  );
  const [uid, gid, ...groups] = ids[0] ?? [];
  const [tracer] = all(11).map((payload) => payload.readUInt32LE(0));
  const [directory] = all(10).map((payload) => text(payload));
  const mounts = all(13).map((payload) => ({ index: payload.readUInt32LE(0), target: text(payload, 4) }));
  const binds = all(14).map((payload) => {
    const source = payload.toString("utf8", 4, payload.indexOf(0, 4));
    const target = text(payload, payload.indexOf(0, 4) + 1);
    return { source, target, readOnly: payload.readUInt32LE(0) === 1 };
  });
  const [root] = all(12).map((payload) => {
    expect(payload.length).toBe(12);
    const keepGroups = payload.readUInt32LE(8) === 1;
    return { userns: payload.readUInt32LE(0), mount: payload.readUInt32LE(4), keepGroups, mounts, binds };
  });
  const [notify] = all(15).map((payload) => ({
    watchdog: Number(payload.readBigUInt64LE(0)),
    address: text(payload, 8),
  }));
  const [socket] = all(16).map((payload) => payload.readUInt32LE(0));
  return {
    lease: text(one(1)),
    inheritEnvironment: (flags & 1) !== 0,
    listenFds: (flags & 2) !== 0,
    reportBinds: (flags & 4) !== 0,
    noNamespaces: (flags & 8) !== 0,
    umask: one(3).readUInt32LE(0),
    capabilities: Array.from({ length: 64 }, (_, i) => i).filter((i) => ((kept >> BigInt(i)) & 1n) !== 0n),
    argv: all(5).map((payload) => text(payload)),
    environment: Object.fromEntries(
      all(6).map((payload) => {
        const entry = text(payload);
        return [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)];
      }),
    ),
    fds: all(7).map((payload) => ({ name: text(payload, 4), index: payload.readUInt32LE(0) })),
    limits: all(8).map((payload) => ({
      resource: text(payload, 16),
      soft: soft(payload.readBigUInt64LE(0)),
      hard: hard(payload.readBigUInt64LE(8)),
    })),
    ...(uid === undefined || gid === undefined ? {} : { user: { uid, gid, groups } }),
    ...(directory === undefined ? {} : { directory }),
    ...(tracer === undefined ? {} : { tracer }),
    ...(root === undefined ? {} : { root }),
    ...(notify === undefined ? {} : { notify }),
    ...(socket === undefined ? {} : { console: socket }),
  };
}

const string = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0"));
const path = string.map((text) => `/${text}`);
const id = fc.integer({ min: 0, max: 0xffff_fffe });
const amount = fc.oneof(fc.maxSafeNat(), fc.constant<"unlimited">("unlimited"));
const fields: fc.Arbitrary<Omit<Plan, "fds" | "root">> = fc.record(
  {
    lease: string,
    argv: fc.array(string, { minLength: 1 }),
    inheritEnvironment: fc.boolean(),
    environment: fc.dictionary(
      string.filter((name) => name !== "" && !name.includes("=")),
      string,
      { noNullPrototype: true },
    ),
    listenFds: fc.boolean(),
    reportBinds: fc.boolean(),
    noNamespaces: fc.boolean(),
    tracer: fc.integer({ min: 1, max: 2 ** 22 }),
    notify: fc.record({
      address: string.filter((path) => path !== "").map((path) => `/${path}`),
      watchdog: fc.maxSafeNat(),
    }),
    user: fc.record({ uid: id, gid: id, groups: fc.array(id) }),
    capabilities: fc.uniqueArray(fc.integer({ min: 0, max: 63 })).map((numbers) => numbers.toSorted((a, b) => a - b)),
    limits: fc.array(
      fc.record({ resource: string, soft: amount, hard: fc.oneof(amount, fc.constant<"keep">("keep")) }),
    ),
    umask: fc.integer({ min: 0, max: 0o777 }),
    directory: path,
  },
  {
    requiredKeys: [
      "lease",
      "argv",
      "inheritEnvironment",
      "environment",
      "listenFds",
      "reportBinds",
      "noNamespaces",
      "capabilities",
      "limits",
      "umask",
    ],
  },
);

/** Names of descriptors and places of mounts, each with an index that no other has. */
const plans: fc.Arbitrary<Plan> = fc
  .record({
    plan: fields,
    names: fc.array(fc.string({ maxLength: 255 }).filter(isListenFdName)),
    targets: fc.option(fc.array(path)),
    binds: fc.array(fc.record({ source: path, target: path, readOnly: fc.boolean() })),
    keepGroups: fc.boolean(),
    indices: fc.uniqueArray(fc.integer({ min: 1, max: 252 }), { minLength: 30, maxLength: 30 }),
  })
  .map(({ plan, names, targets, binds, keepGroups, indices }) => {
    const next = (): number => indices.pop() ?? 0;
    const fds = names.map((name) => ({ name, index: next() }));
    if (targets === null) return { ...plan, fds };
    const mounts = targets.map((target) => ({ index: next(), target }));
    return { ...plan, fds, root: { userns: next(), mount: next(), keepGroups, mounts, binds } };
  });

const good: Plan = {
  lease: "1",
  argv: ["true"],
  inheritEnvironment: true,
  environment: {},
  listenFds: true,
  reportBinds: false,
  fds: [{ name: "game", index: 1 }],
  capabilities: [],
  limits: [],
  umask: 0o022,
};

const root: NonNullable<Plan["root"]> = { userns: 2, mount: 3, keepGroups: false, mounts: [], binds: [] };

describe("encodePlan", () => {
  test("every plan is written as native/launch/plan.h documents it, and nothing of it is lost", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const bytes = encodePlan(plan);
        if (typeof bytes === "string") throw new Error(bytes);
        expect(decode(bytes)).toEqual(plan);
      }),
    );
  });

  const listen = (...indices: readonly number[]): Partial<Plan> => ({
    fds: indices.map((index) => ({ name: "game", index })),
  });
  const mounted = (change: Partial<typeof root>): Partial<Plan> => ({ root: { ...root, ...change } });
  const user = (uid: number, gid: number, ...groups: readonly number[]): Partial<Plan> => ({
    user: { uid, gid, groups },
  });
  const limit = (soft: Rlimit["soft"], hard: Rlimit["hard"], resource = "nofile"): Partial<Plan> => ({
    limits: [{ resource, soft, hard }],
  });
  const noCommand = "there is no command to run; give one, or set server.command of the berth";
  const badArgument = "an argument of the command contains a NUL character, which exec cannot pass";
  const badName = (name: string): string => `an environment variable cannot be called ${name}`;
  const badPath = (path: string): string => `nothing can be mounted from or at ${path}, which is no absolute path`;
  const badIndex = (index: number): string => `a descriptor has the index ${index}, which is not from 1 to 252`;
  const badDirectory = (path: string): string => `the directory ${path} is not an absolute path`;
  const badAddress = (address: string): string => `${address} is not the address of a UNIX socket`;
  const badLimit = (text: string): string => `the limit ${text} is not whole numbers from 0 up`;
  const twice = "two descriptors have the same index";

  test.each<[string, Partial<Plan>, string]>([
    ["no command", { argv: [] }, noCommand],
    ["a NUL in an argument", { argv: ["true", "a\0b"] }, badArgument],
    [
      "a NUL in a variable's value",
      { environment: { A: "\0" } },
      "the environment variable A contains a NUL character, which exec cannot pass",
    ],
    ["a variable without a name", { environment: { "": "b" } }, badName('""')],
    ["a variable's name with =", { environment: { "A=B": "b" } }, badName('"A=B"')],
    ["a NUL in a variable's name", { environment: { "A\0": "b" } }, badName('"A\\u0000"')],
    [
      "a descriptor's name with a colon",
      { fds: [{ name: "a:b", index: 1 }] },
      'a descriptor cannot be called "a:b": at most 255 ASCII characters, no ":"',
    ],
    ["the plan's own index", listen(0), badIndex(0)],
    ["an index that no message can have", listen(253), badIndex(253)],
    ["one index twice", listen(1, 1), twice],
    ["the index of a descriptor as that of the root", mounted({ mount: 1 }), twice],
    ["the index of a descriptor as that of the namespace", mounted({ userns: 1 }), twice],
    ["a mount at no absolute path", mounted({ mounts: [{ index: 4, target: "srv" }] }), badPath('"srv"')],
    ["a bind at no absolute path", mounted({ binds: [{ source: "/srv", target: "", readOnly: true }] }), badPath('""')],
    [
      "a bind from no absolute path",
      mounted({ binds: [{ source: "srv", target: "/", readOnly: true }] }),
      badPath('"srv"'),
    ],
    [
      "a bind from a path with a NUL",
      mounted({ binds: [{ source: "/\0", target: "/", readOnly: true }] }),
      badPath('"/\\u0000"'),
    ],
    ["a mount with the index of the root", mounted({ mounts: [{ index: 3, target: "/srv" }] }), twice],
    ["a capability beyond the mask", { capabilities: [64] }, "64 is not the number of a capability"],
    ["a capability below the mask", { capabilities: [-1] }, "-1 is not the number of a capability"],
    ["the uid that means none", user(0xffff_ffff, 1), "4294967295 is not a user or group id"],
    ["the gid that means none", user(1, 0xffff_ffff), "4294967295 is not a user or group id"],
    ["a group that means none", user(1, 1, 0xffff_ffff), "4294967295 is not a user or group id"],
    ["a negative limit", limit(-1, "keep"), badLimit('"nofile" of -1 and keep')],
    ["a fraction as limit", limit(1, 1.5), badLimit('"nofile" of 1 and 1.5')],
    ["a NUL in the name of a limit", limit(1, 1, "a\0"), badLimit('"a\\u0000" of 1 and 1')],
    ["no process as tracer", { tracer: 0 }, "0 is not a process id"],
    ["a tracer above the largest pid", { tracer: 2 ** 22 + 1 }, "4194305 is not a process id"],
    ["a umask beyond 0777", { umask: 0o1000 }, "the umask 512 is not from 0 to 0777"],
    ["a notify socket without an address", { notify: { address: "", watchdog: 0 } }, badAddress('""')],
    ["a notify socket with the shortest address", { notify: { address: "/", watchdog: 0 } }, badAddress('"/"')],
    ["a notify socket at a relative path", { notify: { address: "run/x", watchdog: 0 } }, badAddress('"run/x"')],
    ["a NUL in the notify socket", { notify: { address: "/x\0", watchdog: 0 } }, badAddress('"/x\\u0000"')],
    ["half a microsecond", { notify: { address: "/run/x", watchdog: 0.5 } }, "0.5 is not a number of microseconds"],
    ["a relative directory", { directory: "srv" }, badDirectory('"srv"')],
    ["a NUL in the directory", { directory: "/\0" }, badDirectory('"/\\u0000"')],
    ["a NUL in the lease", { lease: "\0" }, "the lease's id contains a NUL character"],
    [
      "more than the launcher reads",
      { argv: ["x".repeat(4 << 20)] },
      "the command and environment take 4194396 bytes, more than 4194304; shorten them",
    ],
  ])("%s is refused with a sentence", (_, change, sentence) => {
    expect(encodePlan(good)).toBeInstanceOf(Buffer);
    expect(encodePlan({ ...good, ...change })).toBe(sentence);
  });

  test.each<[string, Partial<Plan>]>([
    ["the last index of a message", listen(252)],
    ["the largest pid as tracer", { tracer: 2 ** 22 }],
    ["an abstract notify socket", { notify: { address: "@x", watchdog: 0 } }],
    ["an address that begins with a newline", { notify: { address: "/\n", watchdog: 0 } }],
    ["the umask 0777", { umask: 0o777 }],
    ["capability 63", { capabilities: [63] }],
    ["no process without namespaces", { noNamespaces: false }],
  ])("%s is accepted, and read back", (_, change) => {
    const bytes = encodePlan({ ...good, ...change });
    if (typeof bytes === "string") throw new Error(bytes);
    expect(decode(bytes)).toMatchObject(change);
  });

  test("a plan of exactly the length that the launcher reads is accepted", () => {
    const bytes = encodePlan({ ...good, argv: [""] });
    const longest = (4 << 20) - bytes.length;
    expect(encodePlan({ ...good, argv: ["x".repeat(longest)] })).toHaveProperty("length", 4 << 20);
    expect(encodePlan({ ...good, argv: ["x".repeat(longest + 1)] })).toContain("take 4194305 bytes");
  });
});
