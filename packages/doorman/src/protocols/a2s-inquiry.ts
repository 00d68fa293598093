/** Asks a server how many play, by A2S_INFO (https://developer.valvesoftware.com/wiki/Server_queries). */
import { CONNECTIONLESS, endOfText, hasAt } from "../bytes.ts";
import { DatagramInquiry } from "../inquiry.ts";

const QUESTION = Buffer.concat([CONNECTIONLESS, Buffer.from("TSource Engine Query\0", "latin1")]);
const CHALLENGE = 0x41;
const INFO = 0x49;
/** The header, the kind, and the version of the protocol. */
const TEXTS_AT = 6;
/** Name, map, folder, game. */
const TEXTS = 4;
/** How often a server may ask for a challenge. */
const MOST_CHALLENGES = 4;

export class A2sInquiry extends DatagramInquiry {
  #challenges = 0;

  constructor() {
    super(QUESTION);
  }

  protected override read(packet: Uint8Array): void {
    if (!hasAt(packet, 0, CONNECTIONLESS)) return;
    if (packet[4] === INFO) return this.end(playersOf(packet));
    if (packet[4] !== CHALLENGE || packet.length < 9 || this.#challenges === MOST_CHALLENGES) return;
    this.#challenges++;
    this.asks = [Buffer.concat([QUESTION, packet.subarray(5, 9)])];
  }
}

/** Source counts its bots among the players. A server that has more bots than players does not. */
function playersOf(packet: Uint8Array): number | undefined {
  let at: number | undefined = TEXTS_AT;
  for (let text = 0; text < TEXTS && at !== undefined; text++) at = endOfText(packet, at);
  if (at === undefined) return undefined;
  // After the number of the game: players, slots, bots.
  const [players, bots] = [packet[at + 2], packet[at + 4]];
  if (players === undefined || bots === undefined) return undefined;
  return bots <= players ? players - bots : players;
}
