import { constants } from "node:os";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SeenBind } from "../../src/cli/explain/recorder.ts";
import { explainOthers, suggestBerth } from "../../src/cli/explain/suggestion.ts";
import type { BerthSpec } from "../../src/config/keys/spec.ts";
import { loadConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/toml/problem.ts";
import { formatListenAddress, parseListenAddress } from "../../src/net/address.ts";
import { escapePlaceholders, expandPlaceholders } from "../../src/placeholder.ts";
import { TestFolder } from "../support/broker.ts";

const { EACCES, EADDRINUSE, EADDRNOTAVAIL } = constants.errno;

function bind(text: string, more: Partial<SeenBind> = {}): SeenBind {
  const listen = parseListenAddress(text);
  if (typeof listen === "string") throw new Error(listen);
  return { listen, error: 0, options: {}, fixedAtBind: {}, lost: [], pid: 1, program: "game", count: 1, ...more };
}

function suggest(...binds: SeenBind[]): string {
  const toml = suggestBerth({ name: "arena", command: ["/usr/games/game"], binds });
  if (toml === undefined) throw new Error("there is nothing to hold");
  return toml;
}

function load(toml: string): BerthSpec {
  using folder = new TestFolder({ "arena.toml": toml });
  const accounts = { passwd: () => undefined, group: () => undefined };
  const { specs, problems } = loadConfig({ directories: [folder.path], accounts });
  expect(problems.map(formatProblem)).toEqual([]);
  const [spec] = specs;
  if (spec === undefined) throw new Error("there is no berth");
  return spec;
}

/** The addresses of each socket, by its name. */
function sockets(toml: string): Record<string, string[]> {
  return Object.fromEntries(load(toml).sockets.map(({ name, listen }) => [name, listen.map(formatListenAddress)]));
}

test("TCP and UDP of one port are one socket, other ports have their own", () => {
  const toml = suggest(bind("tcp://0.0.0.0:5154"), bind("udp://0.0.0.0:8303"), bind("udp://0.0.0.0:5154"));
  expect(sockets(toml)).toEqual({
    game: ["tcp://0.0.0.0:5154", "udp://0.0.0.0:5154"],
    "game-2": ["udp://0.0.0.0:8303"],
  });
});

test("the server is delivered to by bind, its command as it was typed", () => {
  const command = ["/srv/a b", "100%", '"quoted"\\', "ü\u202e\n\x7f", "{map}", "{port} {fd:game} {brace}"];
  const toml = suggestBerth({ name: "arena", command, binds: [bind("udp://*:9000")] });
  const { server } = load(toml ?? "");
  expect(server).toMatchObject({ deliver: ["bind"], otherBinds: "refuse" });
  expect(server.command.map((word) => expandPlaceholders(word, { sockets: () => undefined }))).toEqual(command);
});

test("a loopback bind beside others is let through, and held when there are no others", () => {
  const beside = suggest(bind("udp://0.0.0.0:27960"), bind("tcp://127.0.0.1:8080"));
  expect(sockets(beside)).toEqual({ game: ["udp://0.0.0.0:27960"] });
  expect(load(beside).server.otherBinds).toBe("loopback");
  expect(beside).toContain("# tcp://127.0.0.1:8080 by game: reaches this host alone");
  const alone = suggest(bind("tcp://127.0.0.1:8080"));
  expect(sockets(alone)).toEqual({ game: ["tcp://127.0.0.1:8080"] });
  expect(load(alone).server.otherBinds).toBe("refuse");
});

test("a loopback port that takes privilege is held: other-binds would not let it through", () => {
  expect(sockets(suggest(bind("udp://0.0.0.0:79"), bind("tcp://[::1]:80")))).toEqual({
    game: ["udp://0.0.0.0:79"],
    "game-2": ["tcp://[::1]:80"],
  });
});

test("port 0, paths and addresses that this host lacks are listed, not held", () => {
  const binds = [
    bind("udp://0.0.0.0:0"),
    bind("unix:///run/game"),
    bind("udp://192.0.2.1:9", { error: EADDRNOTAVAIL }),
  ];
  const lines = ["any free port will do", "its own path or name", "failed with EADDRNOTAVAIL"];
  expect(explainOthers(binds)).toEqual(lines.map((line) => expect.stringContaining(line)));
  expect(suggestBerth({ name: "arena", command: ["game"], binds })).toBeUndefined();
  const toml = suggest(...binds, bind("udp://0.0.0.0:9000"));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:9000"] });
  for (const line of lines) expect(toml).toContain(line);
});

test("a busy port is suggested, not the next one that the server tried", () => {
  const busy = { error: EADDRINUSE };
  const toml = suggest(bind("udp://0.0.0.0:27960", busy), bind("udp://0.0.0.0:27961"), bind("udp://0.0.0.0:28960"));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:27960"], "game-2": ["udp://0.0.0.0:28960"] });
  expect(toml).toContain("taken because udp://0.0.0.0:27960 was busy");
});

test("a port that the caller may not have is one for the broker", () => {
  const toml = suggest(bind("udp://0.0.0.0:79", { error: EACCES }));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:79"] });
  expect(toml).toContain("EACCES");
});

test("of addresses that exclude each other the one for more is held", () => {
  const specific = suggest(bind("udp://192.0.2.1:9000"), bind("udp://0.0.0.0:9000"));
  expect(sockets(specific)).toEqual({ game: ["udp://0.0.0.0:9000"] });
  expect(specific).toContain("gets the socket for udp://0.0.0.0:9000");
  const families = suggest(bind("tcp://0.0.0.0:9000", { error: EADDRINUSE }), bind("tcp://*:9000"));
  expect(sockets(families)).toEqual({ game: ["tcp://*:9000"] });
  expect(families).toContain("cannot be held beside tcp://*:9000");
});

test("names what is carried over, and offers options that are fixed at bind(2) as keys", () => {
  const options = { SO_BROADCAST: [1], SO_LINGER: [1, 5] };
  const toml = suggest(bind("udp://0.0.0.0:9000", { options, fixedAtBind: { "reuse-port": true, device: "eth0" } }));
  expect(toml).toContain("SO_BROADCAST=1 SO_LINGER, carried over");
  expect(toml).toMatch(/#.*reuse-port = true\n#.*device = "eth0"\n/);
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:9000"] });
});

test("random source ports become other-binds, not sections", () => {
  const random = [33001, 41207, 1788, 59999, 20111, 50333, 8].map((port) => bind(`udp://0.0.0.0:${port}`));
  const toml = suggest(bind("udp://0.0.0.0:9053"), bind("tcp://0.0.0.0:9053"), bind("tcp://127.0.0.1:8080"), ...random);
  expect(sockets(toml)).toEqual({
    game: ["tcp://0.0.0.0:9053", "udp://0.0.0.0:9053"].toReversed(),
    "game-2": ["tcp://127.0.0.1:8080"],
    "game-3": ["udp://0.0.0.0:8"],
  });
  expect(load(toml).server.otherBinds).toBe("ephemeral");
  expect(toml).toContain("# udp://0.0.0.0, 6 random ports from 1788 to 59999 by game: ");
});

test("a UDP port that was closed again is one to send from, unless the command names it", () => {
  const closed = { isClosed: true } as const;
  const toml = suggest(bind("udp://0.0.0.0:9053"), bind("udp://0.0.0.0:33001", closed));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:9053"] });
  expect(load(toml).server.otherBinds).toBe("ephemeral");
  expect(toml).toContain("# udp://0.0.0.0, port 33001, closed again, by game: ");
  const named = suggestBerth({ name: "arena", command: ["game", "9053"], binds: [bind("udp://0.0.0.0:9053", closed)] });
  expect(sockets(named ?? "")).toEqual({ game: ["udp://0.0.0.0:9053"] });
});

test("many ports near each other, or named in the command, are no random ones", () => {
  const near = [9000, 9001, 9002, 9003, 9010, 9020].map((port) => bind(`udp://0.0.0.0:${port}`));
  expect(Object.keys(sockets(suggest(...near)))).toHaveLength(6);
  const ports = [1100, 2200, 3300, 4400, 5500, 6600];
  const command = ["game", ...ports.map((port) => `--port=${port}`)];
  const far = ports.map((port) => bind(`udp://0.0.0.0:${port}`));
  expect(Object.keys(sockets(suggestBerth({ name: "arena", command, binds: far }) ?? ""))).toHaveLength(6);
});

test("a socket of another protocol is called by its name, and needs other-binds", () => {
  const toml = suggest(bind("udp://0.0.0.0:9000"), bind("udp://0.0.0.0:9001", { protocol: 136 }));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:9000"] });
  expect(toml).toContain("# UDP-Lite 0.0.0.0:9001 by game: a berth cannot hold UDP-Lite; other-binds");
  expect(load(toml).server.otherBinds).toBe("allow");
  expect(explainOthers([bind("tcp://0.0.0.0:9", { protocol: 132 })])).toEqual([
    "SCTP 0.0.0.0:9 by game: a berth cannot hold SCTP, and this bind fails there",
  ]);
});

test("the ports that a server tries after a busy one are no ports of its own", () => {
  const busy = { error: EADDRINUSE };
  const toml = suggest(bind("udp://0.0.0.0:9000", busy), bind("udp://0.0.0.0:9001", busy), bind("udp://0.0.0.0:9002"));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:9000"] });
});

test("ports below 1024 that follow each other are all held", () => {
  const denied = { error: EACCES };
  const toml = suggest(bind("udp://0.0.0.0:79", denied), bind("udp://0.0.0.0:80", denied));
  expect(sockets(toml)).toEqual({ game: ["udp://0.0.0.0:79"], "game-2": ["udp://0.0.0.0:80"] });
});

test("options that are lost in a berth are named", () => {
  expect(suggest(bind("udp://0.0.0.0:9000", { lost: ["SO_LOCK_FILTER", "SO_TXTIME"] }))).toContain(
    "#   set before bind, and lost in a berth: SO_LOCK_FILTER SO_TXTIME\n",
  );
});

test("whatever a server binds, the suggestion loads", () => {
  const host = fc.constantFrom(
    ...["0.0.0.0", "127.0.0.1", "127.9.9.9", "192.0.2.1", "239.1.1.1", "*", "[::]", "[::1]", "[2001:db8::1]"],
    ...["[::ffff:c000:201]", "[::ffff:7f00:1]", "[fe80::1%2]"],
  );
  const address = fc.oneof(
    fc
      .tuple(fc.constantFrom("tcp", "udp"), host, fc.constantFrom(0, 79, 9000, 9001, 9005))
      .map(([scheme, name, port]) => `${scheme}://${name}:${port}`),
    fc.constantFrom("unix:///run/game", "unix://@game", "unix-dgram:///run/game"),
  );
  const seen = fc
    .tuple(address, fc.constantFrom(0, 0, EADDRINUSE, EACCES, EADDRNOTAVAIL), fc.string())
    .map(([text, error, program]) => bind(text, { error, program }));
  const words = fc.array(
    fc.oneof(
      fc.string({ unit: "grapheme" }).filter((word) => !word.includes("\0")),
      fc.constantFrom("{port}", "{fd:game}", "{{root}}", "{brace}"),
    ),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(fc.array(seen, { maxLength: 12 }), words, (binds, [program = "", ...rest]) => {
      const command = [`/${program}`, ...rest];
      const toml = suggestBerth({ name: "arena", command, binds });
      if (toml === undefined) expect(explainOthers(binds)).toHaveLength(binds.length);
      else expect(load(toml).server.command).toEqual(command.map(escapePlaceholders));
    }),
    { numRuns: 300 },
  );
});
