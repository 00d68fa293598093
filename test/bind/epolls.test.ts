/** What a server registers in epolls before bind(2), against the built daemon: it hears what it would hear without. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, compile, eventually, footprint, linesOf, NOBODY, settledFootprint } from "./harness.ts";

const folder = new TestFolder();
let program: string;
let broker: BrokerProcess;
let idle: ReturnType<typeof footprint>;

/** A port that no berth has: what the kernel alone does. */
const PLAIN_PORT = 2641;

beforeAll(async () => {
  program = compile(folder, "epolls.c", ["-lpthread"], "epolls");
  broker = await spawnBroker({
    "both.toml": berth({ game: ["udp://127.0.0.1:641"], query: ["tcp://127.0.0.1:641"] }),
  });
  idle = await settledFootprint(broker.pid);
});

afterAll(async () => {
  await broker?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function plain(kind: string, name: string): string[] {
  const { stdout } = spawnSync(program, [kind, name, String(PLAIN_PORT)], {
    uid: NOBODY,
    gid: NOBODY,
    encoding: "utf8",
  });
  return stdout.split("\n").slice(0, -1);
}

const cases = [
  ...["level", "edge", "oneshot", "hangup", "exclusive", "nested", "two", "many", "high", "low", "duplicate", "others"],
  ...["apart", "reopen", "reopen-first", "reopen-elsewhere"],
];

describe.each(["udp", "tcp"])("a server registers its %s socket in an epoll before bind", needs("root"), (kind) => {
  test.each(cases)("and hears what it would without a broker: %s", async (name) => {
    const wanted = plain(kind, name);
    expect(wanted.join("\n")).toMatch(/: \d+ |ready/);
    expect(await linesOf(broker, "both", [program, kind, name, "641"])).toEqual(wanted);
  });
});

test("a thread that waits in epoll_wait(2) all the time hears it too", needs("root"), async () => {
  const wanted = plain("udp", "waiting");
  expect(wanted).toContain("thread: 1 1 11");
  expect(await linesOf(broker, "both", [program, "udp", "waiting", "641"])).toEqual(wanted);
});

test("the broker keeps nothing of it, and logs nothing", needs("root"), async () => {
  expect(await eventually(() => footprint(broker.pid), idle)).toEqual(idle);
  expect(broker.log.filter(({ level }) => level !== "info")).toEqual([]);
});
