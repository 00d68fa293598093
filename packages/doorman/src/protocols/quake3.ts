/**
 * Quake III and its kin: getstatus and getinfo, and the getchallenge and connect of a player (ioquake3,
 * code/server/sv_main.c). Neither query has a challenge; the one that it may carry is only repeated.
 */
import { CONNECTIONLESS, hasAt, view } from "../bytes.ts";
import type { Answer, DatagramProtocol, Kind, SleepingServer } from "../protocol.ts";
import { count, latin1 } from "../text.ts";
import { Quake3Inquiry } from "./quake3-inquiry.ts";

const LONGEST_TEXT = 64;
const LONGEST_CHALLENGE = 32;
/** They end a key, a value or a text. */
const RESERVED = '\\";%';

export const quake3: DatagramProtocol = {
  name: "quake3",
  isChallenged: false,
  classify,
  answer,
  refuse,
  inquire: (nonce) => new Quake3Inquiry(nonce),
};

interface Command {
  readonly word: string;
  /** The first word after it. */
  readonly argument: string;
}

function commandOf(packet: Uint8Array): Command | undefined {
  if (!hasAt(packet, 0, CONNECTIONLESS)) return undefined;
  const text = view(packet).toString("latin1", 4, 4 + 64);
  const [, word, argument = ""] = /^([a-z]+)(?: +([^\s\0]*)|[\n\0]|$)/i.exec(text) ?? [];
  return word === undefined ? undefined : { word: word.toLowerCase(), argument };
}

function classify(packet: Uint8Array): Kind {
  const command = commandOf(packet);
  switch (command?.word) {
    case "getstatus":
    case "getinfo":
      return "status";
    case "getchallenge":
      return "join";
    case "connect":
      // What follows is compressed, or a text in quotes.
      return command.argument.length > 1 ? "join" : "other";
    default:
      return "other";
  }
}

function answer(packet: Uint8Array, server: SleepingServer): Answer | undefined {
  const command = commandOf(packet);
  if (command?.word === "getstatus") {
    return said(`statusResponse\n${keys({ ...repeated(command), ...about(server, "sv_hostname") })}\n`);
  }
  if (command?.word === "getinfo") {
    return said(`infoResponse\n${keys({ ...repeated(command), ...about(server, "hostname"), clients: "0" })}`);
  }
  return undefined;
}

/** As a full server answers a connect (SV_DirectConnect): clients show the text while they connect. */
function refuse(beginning: Uint8Array, length: number, text: string): Uint8Array | undefined {
  if (commandOf(beginning)?.word !== "connect") return undefined;
  const room = length - CONNECTIONLESS.length - "print\n\n".length;
  const shown = room < 1 ? "" : latin1(text, room, RESERVED);
  return shown === "" ? undefined : said(`print\n${shown}\n`).bytes;
}

function repeated({ argument }: Command): Record<string, string> {
  const challenge = latin1(argument, LONGEST_CHALLENGE, RESERVED);
  return challenge === "" ? {} : { challenge };
}

function about(server: SleepingServer, nameKey: string): Record<string, string> {
  const { name, map, slots, game = "Quake3Arena", version, protocol = 71 } = server;
  const text = (value: string): string => latin1(value, LONGEST_TEXT, RESERVED);
  return {
    [nameKey]: text(name),
    mapname: text(map),
    sv_maxclients: String(count(slots, 1024)),
    gamename: text(game),
    protocol: String(count(protocol, 65_535)),
    ...(version !== undefined && { version: text(version) }),
  };
}

function keys(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => `\\${key}\\${value}`)
    .join("");
}

function said(text: string): Answer {
  return { bytes: Buffer.concat([CONNECTIONLESS, Buffer.from(text, "latin1")]), proven: false };
}
