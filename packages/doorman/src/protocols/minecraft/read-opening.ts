/** What a client of Minecraft Java sends first: a handshake that says what it wants, and a name if it wants to play. */
import { readFrame, readText, readVarInt } from "./frames.ts";
import { readLegacy } from "./legacy.ts";
import { isName, type Opening } from "./opening.ts";

const OTHER: Opening = { kind: "other" };
const SHORT: Opening = { kind: "short" };

/** The name of the host has at most 255 characters; mods append to it. */
const LONGEST_HOST = 1024;
const LONGEST_HANDSHAKE = LONGEST_HOST + 16;
/** A name of 16 characters, and since 1.19 an id or a signature of its owner. */
const LONGEST_LOGIN = 2048;
/** Bytes. */
const LONGEST_NAME = 64;
/** The most bytes that can still become an opening. */
const LONGEST_OPENING = LONGEST_HANDSHAKE + LONGEST_LOGIN + 8;

const STATUS = 1;
const LOGIN = 2;
/** From another server, since 1.20.5. */
const TRANSFER = 3;

/** `short` only while more bytes can still become an opening: so a connection keeps a bounded number of them. */
export function readOpening(bytes: Uint8Array): Opening {
  const opening = read(bytes);
  return opening.kind === "short" && bytes.length > LONGEST_OPENING ? OTHER : opening;
}

function read(bytes: Uint8Array): Opening {
  const legacy = readLegacy(bytes);
  if (legacy !== undefined) return legacy;
  const first = readFrame(bytes, 0, LONGEST_HANDSHAKE);
  if (first === "short") return SHORT;
  if (first === "bad" || first.id !== 0) return OTHER;
  const handshake = readHandshake(first.body);
  if (handshake === undefined) return OTHER;
  const { protocol, next } = handshake;
  if (next === STATUS) return { kind: "status", end: first.end, protocol };
  return next === LOGIN || next === TRANSFER ? readLogin(bytes, first.end) : OTHER;
}

function readHandshake(body: Buffer): { protocol: number; next: number } | undefined {
  const protocol = readVarInt(body, 0);
  if (typeof protocol === "string") return undefined;
  const host = readText(body, protocol.end, LONGEST_HOST);
  // A port of two bytes, then what comes next, and nothing after it.
  const next = host === undefined ? "bad" : readVarInt(body, host.end + 2);
  if (typeof next === "string" || next.end !== body.length) return undefined;
  return { protocol: protocol.value, next: next.value };
}

function readLogin(bytes: Uint8Array, at: number): Opening {
  const login = readFrame(bytes, at, LONGEST_LOGIN);
  if (login === "short") return SHORT;
  if (login === "bad" || login.id !== 0) return OTHER;
  const name = readText(login.body, 0, LONGEST_NAME);
  return name !== undefined && isName(name.value) ? { kind: "join" } : OTHER;
}
