/** The index of findConflicts finds what a comparison of every pair of addresses finds, by the rules of the kernel. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { findConflicts } from "../../src/config/conflicts.ts";
import type { BerthSpec, SocketSpec } from "../../src/config/keys/spec.ts";
import { formatListenAddress, parseListenAddress } from "../../src/net/address.ts";

type Draft = Pick<BerthSpec, "name" | "sockets">;

/** One address as it is written, and what of its socket's options decides with whom it can be bound. */
interface Written {
  readonly text: string;
  readonly v6only: boolean;
  readonly reusePort: boolean;
  readonly device: string | undefined;
}

interface Placed extends Written {
  readonly berth: string;
  readonly socket: string;
  readonly line: number;
}

const texts = [
  ...["127.0.0.1", "127.0.0.2", "0.0.0.0", "*", "[::]", "[::1]", "[0::1]", "[::ffff:127.0.0.1]", "[fe80::1%a]"].flatMap(
    (host) => [`udp://${host}:5`, `tcp://${host}:5`, `udp://${host}:6`, `udp://${host}:0`],
  ),
  ...["unix:///run/a", "unix-dgram:///run/x/../a", "unix://@a", "unix-dgram://@a", "unix:///run/b"],
];

const written: fc.Arbitrary<Written> = fc.record({
  text: fc.constantFrom(...texts),
  v6only: fc.boolean(),
  reusePort: fc.boolean(),
  device: fc.constantFrom(undefined, undefined, "a", "b"),
});

/** What an address is to the kernel: the families and hosts it receives for. */
function hostsOf({ text, v6only }: Written): string[] {
  const host = /\/\/(.*):\d+$/.exec(text)?.[1] ?? "";
  if (host === "*" || (host === "[::]" && !v6only)) return ["6 any", "4 any"];
  if (host === "0.0.0.0") return ["4 any"];
  if (host === "[::]") return ["6 any"];
  if (host === "[::ffff:127.0.0.1]") return ["4 127.0.0.1"];
  return [host.startsWith("[") ? `6 ${host.replace("0::", "::").replace("%a", "")}` : `4 ${host}`];
}

const deviceOf = ({ text, device }: Written): string | undefined => (text.includes("%a") ? "a" : device);
const isUnix = ({ text }: Written): boolean => text.startsWith("unix");

function excludes(a: Written, b: Written): boolean {
  const [kind] = a.text.split("//");
  if (isUnix(a) || isUnix(b)) {
    const path = ({ text }: Written): string => text.replace(/^[a-z-]+:\/\//, "").replace("/x/..", "");
    return path(a) === path(b) && isUnix(a) && isUnix(b) && (path(a).startsWith("/") || b.text.startsWith(`${kind}//`));
  }
  const port = ({ text }: Written): string => text.replace(/\/\/.*:/, " ");
  if (port(a) !== port(b) || a.text.endsWith(":0") || (a.reusePort && b.reusePort)) return false;
  const [one, other] = [deviceOf(a), deviceOf(b)];
  if (one !== undefined && other !== undefined && one !== other) return false;
  return hostsOf(a).some((host) =>
    hostsOf(b).some((at) => host[0] === at[0] && (host === at || `${host} ${at}`.includes("any"))),
  );
}

const isEqual = (a: Written, b: Written): boolean =>
  String([...hostsOf(a), deviceOf(a), a.reusePort]) === String([...hostsOf(b), deviceOf(b), b.reusePort]);

/** As findConflicts says, by comparing each with each: "line of the later, line of the earlier". */
function compareAll(berths: readonly (readonly Placed[])[], isHeld: (one: Placed) => boolean): string[] {
  const taken = berths.flat().filter(isHeld);
  const losers: Placed[] = [];
  const found: string[] = [];
  for (const berth of berths) {
    const fresh = berth.filter((one) => !isHeld(one));
    const isOdd = fresh.some((one, at) => [...taken, ...fresh.slice(0, at)].some((other) => excludes(one, other)));
    (isOdd ? losers : taken).push(...fresh);
  }
  for (const one of losers) {
    const rivals = taken.filter((other) => excludes(one, other));
    const equal = rivals.find((other) => isEqual(one, other));
    if (equal === undefined) taken.push(one);
    for (const rival of equal === undefined ? rivals : [equal]) found.push(`${one.line} ${rival.line}`);
  }
  return found.sort();
}

function specOf({ socket: name, text, line, v6only, reusePort, device }: Placed): SocketSpec {
  const listen = parseListenAddress(text);
  if (typeof listen === "string") throw new Error(listen);
  const options = { backlog: 1, mode: 0, v6only, reusePort, ...(device === undefined ? {} : { device }) };
  return { name, listen: [{ ...listen, origin: { file: "f", line } }], options };
}

it("finds the conflicts that a comparison of all pairs finds, and no others", () => {
  const berths = fc.array(fc.array(fc.tuple(written, fc.boolean()), { maxLength: 3 }), { maxLength: 6 });
  let conflicts = 0;
  fc.assert(
    fc.property(berths, (all) => {
      let line = 0;
      const heldLines = new Set<number>();
      const placed = all.map((one, berth) =>
        one.map(([address, isHeld], socket): Placed => {
          line++;
          if (isHeld && !address.text.endsWith(":0")) heldLines.add(line);
          return { ...address, berth: `b${berth}`, socket: `s${socket}`, line };
        }),
      );
      // What is held is held by different berths at different addresses: the kernel has seen to that.
      const held = new Set<number>();
      for (const one of placed.flat())
        if (heldLines.has(one.line) && !placed.flat().some((other) => held.has(other.line) && excludes(one, other)))
          held.add(one.line);
      const drafts = placed.map((one, berth): Draft => ({ name: `b${berth}`, sockets: one.map(specOf) }));
      const lineOf = (berth: string, address: string): Placed[] =>
        placed.flat().filter((one) => one.berth === berth && formatListenAddress(specListen(one)) === address);
      const isHeld = (one: Placed): boolean =>
        lineOf(one.berth, formatListenAddress(specListen(one))).some(({ line: at }) => held.has(at));
      const result = findConflicts(drafts, (berth, listen) =>
        lineOf(berth, formatListenAddress(listen)).some(({ line: at }) => held.has(at)),
      ).map(({ problem }) => `${problem.line} ${/f:(\d+)$/.exec(problem.message)?.[1]}`);
      conflicts += result.length;
      expect(result.sort()).toEqual(compareAll(placed, isHeld));
    }),
    { numRuns: 2000 },
  );
  expect(conflicts).toBeGreaterThan(1000); // else it compared nothing with nothing
});

function specListen(one: Placed): SocketSpec["listen"][number] {
  const [listen] = specOf(one).listen;
  if (listen === undefined) throw new Error("it has one address");
  return listen;
}
