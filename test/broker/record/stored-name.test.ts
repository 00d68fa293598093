import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FALLBACK_NAME,
  keyHash,
  LOCK_NAME,
  leaseName,
  parseStoredName,
  rootName,
  type StoredName,
  socketName,
  stashName,
} from "../../../src/broker/record/stored-name.ts";
import { parseBerthName } from "../../../src/config/toml/name.ts";
import { isListenFdName } from "../../../src/launch/listen-fds.ts";

const first = fc.constantFrom(..."AZaz09");
const rest = (length: number) => fc.string({ unit: fc.constantFrom(..."AZaz09_.-"), maxLength: length - 1 });
const part = fc.tuple(first, rest(64)).map(([head, tail]) => head + tail);
const berth = fc.oneof(
  part,
  fc.tuple(part, part).map(([template, instance]) => `${template}@${instance}`),
);
const socket = fc.string({ unit: fc.constantFrom(..."AZaz09_-"), minLength: 1, maxLength: 64 });
const inode = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const key = fc.string().map(keyHash);
const lease = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 16, maxLength: 16 });

const names: fc.Arbitrary<BerthsOwn> = fc.oneof(
  fc.record(
    {
      kind: fc.constant("socket" as const),
      berth,
      socket,
      hash: key,
      inode: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
      path: fc.oneof(inode, fc.constant("foreign" as const)),
    },
    { requiredKeys: ["kind", "berth", "socket", "hash", "inode"] },
  ),
  fc.record({
    kind: fc.constant("stash" as const),
    berth,
    name: fc.string({ unit: fc.constantFrom(..."AZaz09_.-"), minLength: 1, maxLength: 64 }),
    lease,
    uid: fc.nat({ max: 2 ** 32 - 2 }),
    serial: fc.nat(),
    packed: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("root" as const), berth }),
  fc.record({ kind: fc.constantFrom("lease" as const, "binds" as const), berth, lease }) as fc.Arbitrary<BerthsOwn>,
);

/** Without what only a successor gets, which is of no berth. */
type BerthsOwn = Exclude<StoredName, { kind: "lock" | "fallback" }>;

function format(name: BerthsOwn): string {
  if (name.kind === "socket") return socketName(name);
  if (name.kind === "root") return rootName(name);
  return name.kind === "stash" ? stashName(name) : leaseName(name.kind, name);
}

describe("the name of a stored descriptor", () => {
  it("is read back to the same, and fits LISTEN_FDNAMES, whatever the longest names are", () => {
    fc.assert(
      fc.property(names, (name) => {
        expect(parseBerthName(name.kind === "socket" ? (name.berth ?? "") : name.berth)).toBeDefined();
        expect(parseStoredName(format(name))).toEqual(name);
        expect(isListenFdName(format(name))).toBe(true);
      }),
    );
  });

  it.each(["control", "notify", "notify-name"])("of the %s socket is no berth's", (socket) => {
    const name = socketName({ socket, hash: "0", inode: 7n });
    expect(parseStoredName(name)).toEqual({ kind: "socket", socket, hash: "0", inode: 7n });
  });

  it("names what only a successor gets", () => {
    expect([LOCK_NAME, FALLBACK_NAME].map(parseStoredName)).toEqual([{ kind: "lock" }, { kind: "fallback" }]);
  });

  it("is never the name that a .socket unit gives: that has no slash", () => {
    fc.assert(
      fc.property(berth, socket, (of, name) => {
        expect(parseStoredName(`${of}.${name}`)).toBeUndefined();
      }),
    );
  });

  it.each([
    "",
    "/",
    "x/y",
    "socket.a/1/2",
    "socket.a.b/1",
    "socket.a.b/h/x",
    "socket.a.b/h/1/x",
    "stash.a/n/l/x/1",
    "lease.a",
    "lice.a/b",
  ])("%j is none", (text) => {
    expect(parseStoredName(text)).toBeUndefined();
  });
});
