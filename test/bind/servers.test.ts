/** Real servers that know nothing of any of this, as nobody, on ports below 1024 that only their berth holds. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { writeEmptyGame } from "../support/quake.ts";
import { askTcp, askUdp, berth, compile, copyFixture, inodesAt, Player, run, socketsOf } from "./harness.ts";

const folder = new TestFolder();
let broker: BrokerProcess;

beforeAll(async () => {
  folder.write({ "home/.keep": "" });
  const home = join(folder.path, "home");
  chmodSync(home, 0o777);
  const own = `inherit-environment = true\nenvironment = { HOME = "${home}" }\n`;
  broker = await spawnBroker({
    "quake.toml": berth({ game: ["udp://127.0.0.1:631"] }, own),
    "bzflag.toml": berth({ game: ["tcp://127.0.0.1:632", "udp://127.0.0.1:632"] }, own),
    "teeworlds.toml": berth({ game: ["udp://127.0.0.1:633"] }, own),
    "java.toml": berth({ game: ["tcp://*:634", "udp://*:634"] }, own),
    "static.toml": berth({ game: ["udp://127.0.0.1:635"], query: ["tcp://127.0.0.1:635"] }),
    "raw.toml": berth({ game: ["udp://127.0.0.1:636"] }),
    "nio.toml": berth({ game: ["tcp://*:637", "udp://*:637"] }, own),
    "wesnoth.toml": berth({ game: ["tcp://127.0.0.1:638", "tcp://[::1]:638"] }, own),
    "erlang.toml": berth({ game: ["udp://127.0.0.1:639"] }, own),
  });
});

afterAll(async () => {
  await broker?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** The sockets bound to the port are the broker's, and the server has the very same. */
function expectHeld(pid: number, port: number, ...protocols: Parameters<typeof inodesAt>[0][]): void {
  const inodes = protocols.flatMap((protocol) => inodesAt(protocol, port));
  expect(inodes.length).toBe(protocols.length);
  expect(socketsOf(broker.pid)).toEqual(expect.arrayContaining(inodes));
  expect(socketsOf(pid)).toEqual(expect.arrayContaining(inodes));
}

function quake(port: number): string[] {
  const set = {
    fs_basepath: folder.path,
    com_basegame: "empty",
    sv_pure: "0",
    dedicated: "1",
    vm_game: "0",
  };
  const variables = Object.entries({ ...set, net_enabled: "1", net_ip: "127.0.0.1", net_port: String(port) });
  return [pathOf("ioq3ded"), ...variables.flatMap(([name, value]) => ["+set", name, value]), "+map", "empty"];
}

describe("Quake III", needs("root", "ioq3ded"), () => {
  const getstatus = Buffer.from("\xff\xff\xff\xffgetstatus\n", "latin1");

  beforeAll(() => {
    writeEmptyGame(folder);
  });

  test("answers getstatus on its berth's socket", async () => {
    await using server = run(broker, "quake", quake(631));
    const answer = await askUdp(631, getstatus);
    expect(answer.toString("latin1")).toMatch(/^\xff\xff\xff\xffstatusResponse\n.*ioq3/);
    expectHeld(server.pid, 631, "udp");
  });

  test("is refused a port that is not its berth's, with the reason, and drifts to no other", async () => {
    await using server = run(broker, "quake", quake(27960));
    const line = await broker.logged(({ event, message }) => event === "bind-refused" && message.includes("27960"));
    expect(line.message).toContain("its server may not bind udp://127.0.0.1:27960: ");
    expect(line.message).toContain("the berth has udp://127.0.0.1:631");
    // It tries ten ports, and goes on without a network.
    await broker.logged(({ event, message }) => event === "bind-refused" && message.includes("27969"));
    for (let port = 27960; port < 27980; port++) expect(inodesAt("udp", port)).toEqual([]);
    expect(socketsOf(server.pid)).not.toEqual(expect.arrayContaining(inodesAt("udp", 631)));
  });
});

test("BZFlag serves TCP and UDP of one number", needs("root", "bzfs"), async () => {
  await using server = run(broker, "bzflag", [pathOf("bzfs"), "-i", "127.0.0.1", "-p", "632", "-d"]);
  expect(await askTcp(632, "BZFLAG\r\n\r\n", (answer) => answer.length >= 9)).toMatch(/^BZFS0\d{3}/);
  expectHeld(server.pid, 632, "tcp", "udp");
});

test("Teeworlds answers a request for its name", needs("root", "teeworlds-server"), async () => {
  // It takes the name of a file in its own folder, and no path.
  writeFileSync(join(folder.path, "tw.cfg"), "sv_port 633\nbindaddr 127.0.0.1\nsv_register 0\nsv_name berthd-test\n");
  await using server = run(broker, "teeworlds", [pathOf("teeworlds-server"), "-f", "tw.cfg"], { cwd: folder.path });
  const mine = Buffer.from("berth".slice(0, 4));
  const hello = Buffer.concat([Buffer.from("040000ffffffff05", "hex"), mine, Buffer.alloc(512)]);
  using player = new Player(633);
  const token = (await player.ask(hello)).subarray(8, 12);
  const ask = Buffer.concat([Buffer.from([0x21]), token, mine, Buffer.from("\xff\xff\xff\xffgie3\0", "latin1")]);
  const info = await player.ask(ask, (answer) => answer.includes("berthd-test"));
  expect(info.toString("latin1")).toContain("0.7.5");
  expectHeld(server.pid, 633, "udp");
});

test("a Java server has its dual-stack sockets", { ...needs("root", "java"), timeout: 60_000 }, async () => {
  await using server = run(broker, "java", [
    pathOf("java"),
    "-XX:TieredStopAtLevel=1",
    copyFixture(folder, "Server.java"),
    "634",
  ]);
  await server.said(1);
  expect((await askUdp(634, "v4")).toString()).toBe("v4");
  expect((await askUdp(634, "v6", "::1")).toString()).toBe("v6");
  expect(await askTcp(634, "")).toBe("java\n");
  expectHeld(server.pid, 634, "tcp6", "udp6");
});

test("a Java server that selects before it binds hears its players", {
  ...needs("root", "java"),
  timeout: 60_000,
}, async () => {
  await using server = run(broker, "nio", [
    pathOf("java"),
    "-XX:TieredStopAtLevel=1",
    copyFixture(folder, "Nio.java"),
    "637",
  ]);
  await server.said(1);
  expect((await askUdp(637, "v4")).toString()).toBe("v4");
  expect(await askTcp(637, "")).toBe("java\n");
  expectHeld(server.pid, 637, "tcp6", "udp6");
});

test(
  "Wesnoth, whose Boost.Asio has its sockets in an epoll before it binds",
  needs("root", "wesnothd-1.16"),
  async () => {
    await using server = run(broker, "wesnoth", [pathOf("wesnothd-1.16"), "-p", "638"]);
    // A client without TLS says four zero bytes, and gets the number of its connection.
    const hello = "\0\0\0\0";
    for (const host of ["127.0.0.1", "::1"])
      expect(await askTcp(638, hello, (answer) => answer.length >= 4, host)).toMatch(/^\0\0\0/);
    expectHeld(server.pid, 638, "tcp", "tcp6");
  },
);

test("an Erlang server, whose UDP is in an epoll before bind", needs("root", "erl"), async () => {
  const echo = `{ok, S} = gen_udp:open(639, [binary, {active, true}, {ip, {127, 0, 0, 1}}]),
    Loop = fun Again() -> receive {udp, S, Host, Port, Data} -> gen_udp:send(S, Host, Port, Data), Again() end end,
    io:format("open~n"), Loop().`;
  await using server = run(broker, "erlang", [pathOf("erl"), "-noshell", "-eval", echo]);
  await server.said(1);
  expect((await askUdp(639, "erlang")).toString()).toBe("erlang");
  expect(inodesAt("udp", 639)).toHaveLength(1);
  expect(socketsOf(broker.pid)).toEqual(expect.arrayContaining(inodesAt("udp", 639)));
});

test("a statically linked server", needs("root"), async () => {
  const program = compile(folder, "scenarios.c", ["-static", "-lpthread"], "static");
  await using server = run(broker, "static", [program, "serve", "635"]);
  await server.said(1);
  expect((await askUdp(635, "static")).toString()).toBe("static");
  expect(await askTcp(635, "")).toBe(`served by ${server.pid}\n`);
  expectHeld(server.pid, 635, "tcp", "udp");
});

const bare = ["-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector"];
const i386 =
  process.arch === "x64"
    ? [["i386, by bind(2)", "1", ["-m32"]] as const, ["i386, by socketcall(2)", "2", ["-m32"]] as const]
    : [];
test.each([["no libc at all", "1", []] as const, ...i386])(
  "a server with %s",
  needs("root"),
  async (name, how, flags) => {
    const program = compile(folder, "raw.c", [...bare, ...flags], `raw-${name.replace(/\W/g, "")}`);
    await using server = run(broker, "raw", [program, how, "636"]);
    expect(await server.said(1)).toEqual(["bound"]);
    expect((await askUdp(636, name)).toString()).toBe(name);
    expectHeld(server.pid, 636, "udp");
  },
);
