/** A hostile server under bind delivery: it gets nothing that is not its berth's, and holds nobody else up. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, compile, eventually, footprint, inodesAt, linesOf, run, Server, settledFootprint } from "./harness.ts";

const folder = new TestFolder();
let program: string;
let broker: BrokerProcess;
let idle: ReturnType<typeof footprint>;

beforeAll(async () => {
  program = compile(folder, "attacker.c", ["-lpthread"]);
  broker = await spawnBroker({
    "victim.toml": berth({ game: ["udp://127.0.0.1:621"] }),
    "neighbour.toml": berth({ game: ["udp://127.0.0.1:622"] }),
  });
  idle = await settledFootprint(broker.pid);
});

// The broker lives, and keeps neither thread nor descriptor of a server that is gone.
afterEach(async () => {
  expect(await eventually(() => footprint(broker.pid), idle)).toEqual(idle);
  expect(broker.child.exitCode).toBeNull();
});

afterAll(async () => {
  await broker?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Milliseconds of so many acquires of the other berth, each over a connection of its own; sorted. */
async function latencies(count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await using client = await connect({ socket: broker.socket });
    const { parameters } = await client.call("io.berthd.Broker.Acquire", { berth: "neighbour" });
    times.push(performance.now() - start);
    await client.call("io.berthd.Broker.Release", { lease: parameters["lease"] });
  }
  return times.sort((a, b) => a - b);
}

describe("a hostile server (on ports that need root)", needs("root"), () => {
  test("that changes the address in mid-call gets its berth's socket or none", async () => {
    expect(await linesOf(broker, "victim", [program, "races", "621", "622"])).toEqual(["raced 300 0"]);
  });

  // 10,000 rounds take three minutes, for the broker answers no more binds a second: BERTHD_TEST_ROUNDS=10000.
  test("that changes its epolls and descriptors in eight threads has nothing else in its epolls", {
    timeout: 180_000,
  }, async () => {
    const [held = ""] = inodesAt("udp", 621);
    const rounds = process.env["BERTHD_TEST_ROUNDS"] ?? "300";
    expect(await linesOf(broker, "victim", [program, "epolls", "621", rounds, held])).toEqual(["raced 0"]);
  });

  test("that floods with binds from eight threads does not keep others from their berths", async () => {
    const calm = await latencies(100);
    await using server = run(broker, "victim", [program, "flood", "621", "622"]);
    await server.said(1);
    const busy = await latencies(100);
    const ratio = (busy.at(98) ?? 0) / (calm.at(98) ?? 1);
    console.log(`p99 of acquire under a flood of binds: ${ratio.toFixed(1)} times`);
    expect(busy.length).toBe(100);
    await server.kill();
    expect(server.lines).toEqual(["flooding"]);
  });

  test("killed in mid-call, thirty times, leaves the berth to the next", async () => {
    for (let i = 0; i < 30; i++) {
      await using server = run(broker, "victim", [program, "flood", "621", "622"]);
      await server.said(1);
    }
    expect(await linesOf(broker, "victim", [program, "closed", "621"])).toEqual(["done"]);
  });

  test("whose address is in memory that never loads delays no other server", needs("root"), async () => {
    // As root, for whom the kernel waits in userfaultfd(2) even on another's behalf.
    await using own = await spawnBroker({
      "victim.toml": `${berth({ game: ["udp://127.0.0.1:623"] })}capabilities = ["CAP_SYS_PTRACE"]\n`,
      "neighbour.toml": berth({ game: ["udp://127.0.0.1:624"] }),
    });
    const before = await settledFootprint(own.pid);
    await using server = run(own, "victim", [program, "stuck", "623"]);
    expect(await server.said(1)).toEqual(["stuck"]);
    expect(await eventually(() => footprint(own.pid).threads, before.threads + 1)).toBe(before.threads + 1);
    expect(await linesOf(own, "neighbour", [program, "closed", "624"])).toEqual(["done"]);
    await server.kill();
    expect(server.lines).toEqual(["stuck"]);
    expect(await eventually(() => footprint(own.pid), before)).toEqual(before);
  });

  test("that sends another descriptor than its seccomp listener gets an error", async () => {
    await using server = new Server(program, ["impostor", "621", "0", broker.socket]);
    expect(await server.ended()).toEqual([
      "Acquire ok",
      "Intercept io.berthd.Broker.UnsuitableDescriptor",
      "Intercept org.varlink.service.InvalidParameter",
      "Intercept io.berthd.Broker.NoSuchLease",
      "Intercept ok",
      "Intercept io.berthd.Broker.LimitReached",
      "0 621",
    ]);
  });

  // A second for each report that it has to give up as the broker was first.
  test("that consumes its own reports does not delay other servers", {
    timeout: 180_000,
  }, async () => {
    await using server = new Server(program, ["thief", "621", "0", broker.socket]);
    await server.said(3);
    expect(server.lines[2]).toMatch(/^over /);
    expect((await latencies(5)).length).toBe(5);
  });
});
