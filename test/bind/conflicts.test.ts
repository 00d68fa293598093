/** A server that binds two sockets: it must not be able to tell from what happens without a broker. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, copyFixture, linesOf, NOBODY } from "./harness.ts";

type Bound = readonly [kind: "tcp" | "udp", host: string, ...options: ("v6only" | "address" | "port")[]];
type Pair = readonly [Bound, Bound];

const reuse = [[], ["address"], ["port"], ["address", "port"]] as const;

/** The same address twice, with each choice of options. */
const twice = (kind: "tcp" | "udp", host: string): Pair[] =>
  reuse.flatMap((first) =>
    reuse.map(
      (second): Pair => [
        [kind, host, ...first],
        [kind, host, ...second],
      ],
    ),
  );

/** Addresses that are not the same, of which one may be in the other's way. */
const different = (kind: "tcp" | "udp"): Pair[] => [
  [
    [kind, "::"],
    [kind, "0.0.0.0"],
  ],
  [
    [kind, "::"],
    [kind, "127.0.0.1"],
  ],
  [
    [kind, "::"],
    [kind, "::"],
  ],
  [
    [kind, "::"],
    [kind, "::", "v6only"],
  ],
  [
    [kind, "::", "address"],
    [kind, "0.0.0.0"],
  ],
  [
    [kind, "::", "port"],
    [kind, "0.0.0.0", "address"],
  ],
];

const pairs: readonly Pair[] = [
  ...twice("tcp", "127.0.0.1"),
  ...twice("udp", "127.0.0.1"),
  ...different("tcp"),
  ...different("udp"),
];

/** The broker looks for copies of a socket 20 times a second for one server. */
const AT_ONCE = 8;
const parts = Array.from(
  { length: Math.ceil(pairs.length / AT_ONCE) },
  (_, at) => [at, pairs.slice(at * AT_ONCE, (at + 1) * AT_ONCE)] as const,
);

const folder = new TestFolder();
const ports = new Map<string, number>();
let broker: BrokerProcess;
let script: string;

beforeAll(async () => {
  script = copyFixture(folder, "conflicts.py");
  for (const name of ["one", "dual"]) ports.set(name, await freePort());
  const [one, dual] = [ports.get("one"), ports.get("dual")];
  broker = await spawnBroker({
    "one.toml": berth({ game: [`tcp://127.0.0.1:${one}`, `udp://127.0.0.1:${one}`] }),
    "dual.toml": berth({ game: [`tcp://*:${dual}`, `udp://*:${dual}`] }),
  });
});

afterAll(async () => {
  await broker?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const table = (some: readonly Pair[], said: readonly string[]): string[] =>
  some.map((pair, at) => `${pair.map((one) => one.join(" ")).join(", ")}: ${said[at]}`);

describe("two binds of one server come to what they would without a broker", needs("root"), () => {
  test.each(parts)("pairs of part %i", async (_, some) => {
    const text = JSON.stringify(some);
    const ids = { uid: NOBODY, gid: NOBODY, encoding: "utf8" } as const;
    const plain = execFileSync("python3", [script, String(await freePort()), text], ids)
      .trimEnd()
      .split("\n");
    const name = some.some(([[, host]]) => host === "::") ? "dual" : "one";
    const said = await linesOf(broker, name, ["python3", script, String(ports.get(name)), text]);
    expect(table(some, said)).toEqual(table(some, plain));
  });
});
