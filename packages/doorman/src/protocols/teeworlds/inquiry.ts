/**
 * Asks a server of Teeworlds how many play. A port serves 0.6 or 0.7, so both are asked, and the first that answers is
 * believed. In 0.7 a token comes first (src/engine/shared/network.h and network_token.cpp of 0.7).
 */
import { CONNECTIONLESS, endOfText, hasAt, hasTextAt, uint32, view } from "../../bytes.ts";
import { DatagramInquiry, readCount } from "../../inquiry.ts";
import { CONTROL, NO_TOKEN, OUTSIDE, TOKEN } from "./seven-packets.ts";

const ASK = Buffer.concat([CONNECTIONLESS, Buffer.from("gie3", "latin1")]);
const INFO = "inf3";
const HEADER_SIX = Buffer.alloc(6, 0xff);
const HEADER_SEVEN_LENGTH = 9;
const WORD_LENGTH = 8;
/** A request for a token is padded, so that no answer is longer (NET_TOKENREQUEST_DATASIZE). */
const PADDING = Buffer.alloc(512 - 4);
/** Of 0.6: version, name, map, mode, flags come between the token and the players; of 0.7 five texts. */
const [TEXTS_SIX, TEXTS_SEVEN] = [5, 5];

export class TeeworldsInquiry extends DatagramInquiry {
  /** One byte in 0.6: the token that an answer repeats. */
  readonly #short: number;
  readonly #token: Buffer;
  #theirs: Buffer | undefined;

  constructor(nonce: number) {
    const [short, token] = [nonce & 0x3f, uint32(nonce)];
    const six = Buffer.concat([HEADER_SIX, ASK, Buffer.of(short)]);
    super(six, Buffer.concat([CONTROL, NO_TOKEN, Buffer.of(TOKEN), token, PADDING]));
    this.#short = short;
    this.#token = token;
  }

  protected override read(packet: Uint8Array): void {
    if (isInfo(packet, HEADER_SIX)) return this.end(playersOfSix(packet, this.#short));
    if (this.#theirs === undefined) return this.#readToken(packet);
    const header = Buffer.concat([Buffer.of(OUTSIDE), this.#token, this.#theirs]);
    if (isInfo(packet, header)) this.end(playersOfSeven(packet, this.#short));
  }

  #readToken(packet: Uint8Array): void {
    const given = Buffer.concat([CONTROL, this.#token, Buffer.of(TOKEN)]);
    if (!hasAt(packet, 0, given) || packet.length < given.length + 4) return;
    const theirs = Buffer.from(packet.subarray(given.length, given.length + 4));
    this.#theirs = theirs;
    this.asks = [Buffer.concat([Buffer.of(OUTSIDE), theirs, this.#token, ASK, Buffer.of(this.#short)])];
  }
}

function isInfo(packet: Uint8Array, header: Uint8Array): boolean {
  const { length } = header;
  return hasAt(packet, 0, header) && hasAt(packet, length, CONNECTIONLESS) && hasTextAt(packet, length + 4, INFO);
}

/** All of it is text: the token, then players, their most, clients and their most. Clients may only watch. */
function playersOfSix(packet: Uint8Array, token: number): number | undefined {
  const fields = view(packet)
    .toString("latin1", HEADER_SIX.length + WORD_LENGTH)
    .split("\0");
  if (fields[0] !== String(token)) return undefined;
  const [players, , clients] = fields.slice(1 + TEXTS_SIX).map(readCount);
  return players === undefined || clients === undefined ? undefined : Math.max(players, clients);
}

/** The token, five texts, then numbers: flags, skill level, players and their most, clients and their most. */
function playersOfSeven(packet: Uint8Array, token: number): number | undefined {
  let at: number | undefined = HEADER_SEVEN_LENGTH + WORD_LENGTH;
  if (packet[at] !== token) return undefined;
  at++;
  for (let text = 0; text < TEXTS_SEVEN && at !== undefined; text++) at = endOfText(packet, at);
  const numbers: number[] = [];
  while (at !== undefined && numbers.length < 5) {
    const number = unpack(packet, at);
    if (number === undefined) return undefined;
    numbers.push(number.value);
    at = number.end;
  }
  const [, , players, , clients] = numbers;
  if (players === undefined || clients === undefined) return undefined;
  return readCount(String(Math.max(players, clients)));
}

/** As Teeworlds packs it: a sign, 6 bits, then 7 bits at a time (src/engine/shared/compression.cpp). */
export function unpack(bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | undefined {
  const [first] = bytes.subarray(at);
  if (first === undefined) return undefined;
  let value = first & 0x3f;
  let last = first;
  let end = at + 1;
  for (let shift = 6; (last & 0x80) !== 0; shift += 7) {
    const next = bytes[end];
    if (next === undefined || shift > 27) return undefined;
    value |= (next & 0x7f) << shift;
    last = next;
    end++;
  }
  return { value: (first & 0x40) === 0 ? value : ~value, end };
}
