/** What a sleeping server says, read back as each protocol's documents describe it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Challenge, datagramProtocols, minecraft, type SleepingServer } from "../../packages/doorman/src/index.ts";
import { packed } from "../../packages/doorman/src/protocols/teeworlds/seven.ts";
import { queries } from "../support/doorman/scans.ts";
import { handshake, login, PING, REQUEST, streamJoins, streamQueries } from "../support/doorman/streams.ts";
import { runs } from "../support/property-runs.ts";

const MET = 0x01020304;
const challenge: Challenge = { value: MET, met: (shown) => shown === MET };

/** Texts that every protocol can carry as they are, and short enough. */
const word = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9 _-]{0,38}[A-Za-z0-9]$/);
const servers: fc.Arbitrary<Required<SleepingServer>> = fc.record({
  name: word,
  map: word,
  game: word,
  version: word,
  slots: fc.integer({ min: 1, max: 255 }),
  protocol: fc.integer({ min: 1, max: 255 }),
  port: fc.integer({ min: 1, max: 65_535 }),
  id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});

function ask(query: string, server: SleepingServer, change: (bytes: Buffer) => void = () => undefined): Buffer {
  const { of, bytes } = queries[query] ?? expect.unreachable(query);
  const packet = Buffer.from(bytes);
  change(packet);
  const answer = datagramProtocols[of].answer(packet, server, challenge);
  return Buffer.from(answer?.bytes ?? expect.unreachable("no answer"));
}

/** The texts that end with NUL, and where the bytes after the last one begin. */
function texts(bytes: Buffer, at: number, many: number): { values: string[]; end: number } {
  const values: string[] = [];
  let end = at;
  for (let index = 0; index < many; index++) {
    const zero = bytes.indexOf(0, end);
    values.push(bytes.toString("utf8", end, zero));
    end = zero + 1;
  }
  return { values, end };
}

function property(check: (server: Required<SleepingServer>) => void): void {
  fc.assert(fc.property(servers, check), { numRuns: runs(300) });
}

describe("a2s", () => {
  const withChallenge = (bytes: Buffer): void => void bytes.writeUInt32LE(MET, bytes.length - 4);

  it("answers a first question with a challenge, as long as the shortest question", () => {
    const info = ask("A2S info, nmap -sU 27015", { name: "a", map: "b", slots: 1 });
    const players = ask("A2S players", { name: "a", map: "b", slots: 1 });
    expect([info.toString("hex"), players.toString("hex")]).toEqual(["ffffffff4104030201", "ffffffff4104030201"]);
  });

  it("says name, map, game, version and 0 of N players to who returns the challenge", () =>
    property((server) => {
      const bytes = ask("A2S info with a challenge", server, withChallenge);
      const { values, end } = texts(bytes, 6, 4);
      expect(bytes.toString("hex", 0, 5)).toBe("ffffffff49");
      expect(bytes[5]).toBe(server.protocol);
      expect(values).toEqual([server.name, server.map, server.game, server.game]);
      // The id of the game, players, their most, bots, dedicated, Linux, no password, not secured.
      expect([...bytes.subarray(end, end + 9)]).toEqual([0, 0, 0, server.slots, 0, 0x64, 0x6c, 0, 0]);
      const last = texts(bytes, end + 9, 1);
      expect([last.values[0], bytes[last.end], bytes.readUInt16LE(last.end + 1)]).toEqual([
        server.version,
        0x80,
        server.port,
      ]);
      expect(bytes.length).toBe(last.end + 3);
    }));

  it("has no players and no rules", () => {
    const sleeper = { name: "a", map: "b", slots: 1 };
    expect(ask("A2S players", sleeper, withChallenge).toString("hex")).toBe("ffffffff4400");
    expect(ask("A2S rules", sleeper, withChallenge).toString("hex")).toBe("ffffffff450000");
  });
});

describe("quake3", () => {
  function keysOf(bytes: Buffer, header: string): Record<string, string> {
    const text = bytes.toString("latin1");
    expect(text.startsWith(header)).toBe(true);
    const parts = (text.slice(header.length).split("\n")[0] ?? "").split("\\").slice(1);
    return Object.fromEntries(parts.flatMap((part, at) => (at % 2 === 0 ? [[part, parts[at + 1] ?? ""]] : [])));
  }

  it("says who it is, in both forms, and repeats what it was asked with", () =>
    property(({ name, map, slots, game, version, protocol }) => {
      const server = { name, map, slots, game, version, protocol };
      const common = { mapname: map, sv_maxclients: `${slots}`, gamename: game, version, protocol: `${protocol}` };
      const status = ask("Quake III status, nmap -sU 27960", server);
      expect(keysOf(status, "\xff\xff\xff\xffstatusResponse\n")).toEqual({ sv_hostname: name, ...common });
      expect(status.at(-1)).toBe(0x0a);
      const info = keysOf(ask("Quake III info of a list", server), "\xff\xff\xff\xffinfoResponse\n");
      expect(info).toEqual({ challenge: "xxx", hostname: name, clients: "0", ...common });
    }));

  it("keeps a name from ending its field, or the text", () => {
    const server = { name: 'a\\b"c;d\ne%f', map: "\u{1f600}\0q", slots: 1 };
    const status = keysOf(ask("Quake III status, nmap -sU 27960", server), "\xff\xff\xff\xffstatusResponse\n");
    expect([status["sv_hostname"], status["mapname"]]).toEqual(["abcdef", "?q"]);
  });
});

describe("bedrock", () => {
  it("repeats the time, and says who it is in the fields of a server list", () =>
    property((server) => {
      const { of, bytes: ping } = queries["Bedrock's ping, Shodan"] ?? expect.unreachable();
      const bytes = ask("Bedrock's ping, Shodan", server);
      expect(of).toBe("bedrock");
      expect(bytes[0]).toBe(0x1c);
      expect(bytes.subarray(1, 9)).toEqual(ping.subarray(1, 9));
      expect(bytes.readBigUInt64BE(9)).toBe(server.id);
      expect(bytes.subarray(17, 33)).toEqual(ping.subarray(9, 25));
      expect(bytes.readUInt16BE(33)).toBe(bytes.length - 35);
      const { name, map, slots, game, version, protocol, port, id } = server;
      expect(bytes.toString("utf8", 35).split(";")).toEqual(
        ["MCPE", name, protocol, version, 0, slots, id, map, game, 1, port, port, ""].map(String),
      );
    }));

  it("keeps a name from beginning another field", () => {
    const bytes = ask("Bedrock's ping, Shodan", { name: "a;b\\;c", map: "x\ny", slots: 4 });
    const fields = bytes.toString("utf8", 35).split(";");
    expect([fields.length, fields[1], fields[7]]).toEqual([13, "abc", "xy"]);
  });
});

describe("teeworlds", () => {
  it("says who it is to 0.6, with the token of the question", () =>
    property(({ name, map, slots, game, version }) => {
      const bytes = ask("Teeworlds 0.6 info", { name, map, slots, game, version });
      expect(bytes.toString("latin1", 0, 14)).toBe(`${"\xff".repeat(10)}inf3`);
      const { values, end } = texts(bytes, 14, 10);
      expect(values).toEqual(["42", version, name, map, game, "0", "0", `${slots}`, "0", `${slots}`]);
      expect(end).toBe(bytes.length);
      expect(ask("DDNet info", { name, map, slots, game, version })).toEqual(bytes);
    }));

  it("gives 0.7 its token, in a packet shorter than the request", () => {
    const bytes = ask("Teeworlds 0.7 token", { name: "a", map: "b", slots: 1 });
    // To the asker's own token, in a control message of kind 5.
    expect(bytes.toString("hex")).toBe(`040000${Buffer.from("bert").toString("hex")}0501020304`);
  });

  it("says who it is to 0.7, to who shows the token", () =>
    property(({ name, map, slots, game, version }) => {
      const bytes = ask("Teeworlds 0.7 info", { name, map, slots, game, version });
      expect(bytes.toString("hex", 0, 13)).toBe("216265727401020304ffffffff");
      expect(bytes.toString("latin1", 13, 18)).toBe("inf3\0");
      const { values, end } = texts(bytes, 18, 5);
      expect(values).toEqual([version, name, "", map, game]);
      const most = [...packed(slots)];
      expect([...bytes.subarray(end)]).toEqual([0, 1, 0, ...most, 0, ...most]);
    }));

  it("says nothing to 0.7 with another token", () => {
    const { bytes } = queries["Teeworlds 0.7 info"] ?? expect.unreachable();
    const forged = Buffer.from(bytes);
    forged[1] = 9;
    expect(datagramProtocols.teeworlds.answer(forged, { name: "a", map: "b", slots: 1 }, challenge)).toBeUndefined();
  });

  it("packs counts as Teeworlds does", () => {
    const unpack = (bytes: Buffer): number =>
      bytes.reduce((sum, byte, at) => (at === 0 ? byte & 0x3f : sum | ((byte & 0x7f) << (6 + 7 * (at - 1)))), 0);
    fc.assert(
      fc.property(fc.nat(0xffffff), (value) => {
        expect(unpack(packed(value))).toBe(value);
      }),
    );
    expect([packed(63), packed(64), packed(1024)].map((bytes) => bytes.toString("hex"))).toEqual([
      "3f",
      "8001",
      "8010",
    ]);
  });
});

describe("minecraft", () => {
  const sleeper: SleepingServer = { name: "Frozen “Lake”", map: "world", slots: 20, version: "1.20.4" };
  const say = (bytes: Uint8Array, server = sleeper) => minecraft.converse(server, "starting, join again").feed(bytes);

  /** The text of a frame with the id 0, of less than 16 KiB. */
  function textOf(reply: Uint8Array): { text: string; end: number } {
    const bytes = Buffer.from(reply);
    const number = (at: number): [number, number] => {
      const low = bytes[at] ?? 0;
      return low < 128 ? [low, at + 1] : [(low & 127) | ((bytes[at + 1] ?? 0) << 7), at + 2];
    };
    const [length, id] = number(0);
    const [size, begin] = number(id + 1);
    expect([bytes[id], begin + size]).toEqual([0, id + length]);
    return { text: bytes.toString("utf8", begin, begin + size), end: begin + size };
  }

  it("says name and 0 of N players, with the client's version where it has none of its own", () => {
    const { kind, reply, ends } = say(Buffer.concat([handshake(1), REQUEST]));
    expect([kind, ends]).toEqual(["status", false]);
    expect(JSON.parse(textOf(reply).text)).toEqual({
      version: { name: "1.20.4", protocol: 765 },
      players: { max: 20, online: 0, sample: [] },
      description: { text: "Frozen “Lake”" },
    });
    const own = say(Buffer.concat([handshake(1), REQUEST]), { ...sleeper, protocol: 47 });
    expect(JSON.parse(textOf(own.reply).text).version).toEqual({ name: "1.20.4", protocol: 47 });
  });

  it("repeats a ping, and ends", () => {
    const conversation = minecraft.converse(sleeper, "");
    conversation.feed(Buffer.concat([handshake(1), REQUEST]));
    const { reply, ends } = conversation.feed(PING);
    expect([Buffer.from(reply), ends]).toEqual([PING, true]);
  });

  it("answers one status and no second one", () => {
    const { reply, ends } = say(Buffer.concat([handshake(1), REQUEST, REQUEST, PING]));
    expect([textOf(reply).end, ends]).toEqual([reply.length, true]);
  });

  it("tells a player to come again, and waits for the name before", () => {
    const conversation = minecraft.converse(sleeper, 'starting, join again in "10 s"');
    expect(conversation.feed(handshake(2))).toEqual({ kind: undefined, reply: Buffer.alloc(0), ends: false });
    const { kind, reply, ends } = conversation.feed(login("Steve"));
    expect([kind, ends]).toEqual(["join", true]);
    expect(JSON.parse(textOf(reply).text)).toEqual({ text: 'starting, join again in "10 s"' });
  });

  it("lets nobody in: says no number of players, and the text to a player, in the list and out of it", () => {
    const turnAway = (bytes: Uint8Array) => minecraft.turnAway(sleeper, 'back\nin "10 s"').feed(bytes);
    const listed = turnAway(Buffer.concat([handshake(1), REQUEST]));
    expect([listed.kind, listed.ends]).toEqual(["status", false]);
    expect(JSON.parse(textOf(listed.reply).text)).toEqual({
      version: { name: "1.20.4", protocol: 765 },
      description: { text: 'Frozen “Lake”\nbackin "10 s"' },
    });
    const joined = turnAway(Buffer.concat([handshake(2), login("Steve")]));
    expect([joined.kind, joined.ends]).toEqual(["join", true]);
    expect(JSON.parse(textOf(joined.reply).text)).toEqual({ text: 'backin "10 s"' });
    expect(turnAway(Buffer.of(0xfe, 1))).toEqual({ kind: "status", reply: Buffer.alloc(0), ends: true });
  });

  /** The text of the disconnection that old clients read. */
  function kickOf(reply: Uint8Array): string {
    const bytes = Buffer.from(reply);
    expect([bytes[0], bytes.readUInt16BE(1) * 2 + 3]).toEqual([0xff, bytes.length]);
    return bytes.subarray(3).swap16().toString("utf16le");
  }

  it("answers the lists of clients before 1.7 in their two forms", () => {
    const old = { ...sleeper, name: "Frozen §4Lake" };
    const said = (query: string) => kickOf(say(streamQueries[query] ?? expect.unreachable(), old).reply);
    const newer = "§1\x00127\x001.20.4\0Frozen §4Lake\x000\x0020";
    expect([said("a client of 1.6"), said("a client of 1.4")]).toEqual([newer, newer]);
    expect(said("a client of 1.3")).toBe("Frozen 4Lake§0§20");
  });

  it("tells players with clients before 1.7 too", () => {
    for (const join of ["a client of 1.5", "a client of 1.2"]) {
      const { kind, reply, ends } = say(streamJoins[join] ?? expect.unreachable());
      expect([kind, kickOf(reply), ends]).toEqual(["join", "starting, join again", true]);
    }
  });
});

it("text is cut to whole characters", () => {
  const bytes = ask("Bedrock's ping, Shodan", { name: "€".repeat(40), map: "m", slots: 4 });
  expect(bytes.toString("utf8", 35).split(";")[1]).toBe("€".repeat(21));
});
