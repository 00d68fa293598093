/** Asks a server of Minecraft Java how many play: the status of its server list, since 1.7. */
import { uint16 } from "../../bytes.ts";
import { type Inquiry, isCount } from "../../inquiry.ts";
import { frame, readFrame, readText, text, varInt } from "./frames.ts";

const STATUS = 1;
/** No version of the protocol: servers answer with their own. */
const ANY_VERSION = 0xffffffff;
/** A status has at most 32,767 characters, of up to 4 bytes; with a picture in it. */
const LONGEST = 132_000;

export class MinecraftInquiry implements Inquiry {
  readonly asks: readonly Uint8Array[];
  players: number | undefined;
  isOver = false;
  #bytes: Buffer = Buffer.alloc(1024);
  #length = 0;

  constructor(port: number) {
    const shake = frame(0, varInt(ANY_VERSION), text("localhost"), uint16(port), varInt(STATUS));
    this.asks = [Buffer.concat([shake, frame(0)])];
  }

  feed(bytes: Uint8Array): boolean {
    if (this.isOver) return false;
    const some = bytes.subarray(0, LONGEST + 8 - this.#length);
    while (this.#bytes.length < this.#length + some.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length)]);
    this.#bytes.set(some, this.#length);
    this.#length += some.length;
    const all = this.#bytes.subarray(0, this.#length);
    const answer = readFrame(all, 0, LONGEST);
    if (answer === "short" && this.#length <= LONGEST) return false;
    this.isOver = true;
    this.#bytes = Buffer.alloc(0);
    if (typeof answer === "string" || answer.id !== 0) return false;
    const said = readText(answer.body, 0, LONGEST);
    if (said !== undefined) this.players = playersOf(said.value);
    return false;
  }
}

function playersOf(json: string): number | undefined {
  try {
    const status: unknown = JSON.parse(json);
    const online = memberOf(memberOf(status, "players"), "online");
    return isCount(online) ? online : undefined;
  } catch {
    return undefined;
  }
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined;
}
