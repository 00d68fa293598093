/**
 * Minecraft Java as a sleeping server, or as one that lets nobody in: it answers the server list, and tells a player to
 * come again. A connection that was accepted cannot be put back, so the player joins a second time.
 */
import type { Conversation, Kind, SleepingServer, StreamProtocol, Turn } from "../../protocol.ts";
import { count, utf8 } from "../../text.ts";
import { frame, readFrame, text } from "./frames.ts";
import { MinecraftInquiry } from "./inquiry.ts";
import { legacyKick, legacyStatus } from "./legacy.ts";
import { readOpening } from "./read-opening.ts";

export const minecraft: StreamProtocol = {
  name: "minecraft",
  classify: (opening) => kindOf(readOpening(opening).kind) ?? "other",
  converse: (server, refusal) => new MinecraftConversation(server, refusal, "sleeps"),
  turnAway: (server, refusal) => new MinecraftConversation(server, refusal, "lets nobody in"),
  inquire: (port) => new MinecraftInquiry(port),
};

const REQUEST = 0;
const PING = 1;
const PING_LENGTH = 8;
/** A request or a ping: the id, and a time. */
const LONGEST_QUESTION = 16;
const LONGEST_TEXT = 256;

const NOTHING: Buffer = Buffer.alloc(0);

function kindOf(kind: ReturnType<typeof readOpening>["kind"]): Kind | undefined {
  switch (kind) {
    case "status":
    case "legacy-status":
      return "status";
    case "join":
    case "legacy-join":
      return "join";
    case "other":
      return "other";
    case "short":
      return undefined;
    default:
      return kind satisfies never;
  }
}

type State = "sleeps" | "lets nobody in";

class MinecraftConversation implements Conversation {
  readonly #server: SleepingServer;
  readonly #state: State;
  readonly #refusal: string;
  #bytes: Buffer = NOTHING;
  /** The client's version, once it wants the status. */
  #protocol: number | undefined;
  #isAnswered = false;
  #hasEnded = false;

  constructor(server: SleepingServer, refusal: string, state: State) {
    this.#server = server;
    this.#state = state;
    this.#refusal = utf8(refusal, LONGEST_TEXT).toString("utf8");
  }

  feed(bytes: Uint8Array): Turn {
    if (this.#hasEnded) return { kind: undefined, reply: NOTHING, ends: true };
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    const turn = this.#protocol === undefined ? this.#open() : this.#answer(this.#protocol);
    if (turn.ends) {
      this.#hasEnded = true;
      this.#bytes = NOTHING;
    }
    return turn;
  }

  #open(): Turn {
    const opening = readOpening(this.#bytes);
    const kind = kindOf(opening.kind);
    switch (opening.kind) {
      case "short":
        return { kind, reply: NOTHING, ends: false };
      case "status":
        this.#protocol = opening.protocol;
        this.#bytes = this.#bytes.subarray(opening.end);
        return this.#answer(opening.protocol);
      case "legacy-status":
        // It has a number of players.
        if (this.#state === "lets nobody in") return end(kind);
        return { kind, reply: legacyStatus(this.#server, opening.isOldest), ends: true };
      case "join":
        return { kind, reply: frame(0, text(JSON.stringify({ text: this.#refusal }))), ends: true };
      case "legacy-join":
        return { kind, reply: legacyKick(this.#refusal), ends: true };
      case "other":
        return end(kind);
      default:
        return opening satisfies never;
    }
  }

  /** The status once, then a ping that ends the connection. */
  #answer(protocol: number): Turn {
    const replies: Buffer[] = [];
    for (;;) {
      const question = readFrame(this.#bytes, 0, LONGEST_QUESTION);
      if (question === "short") return { kind: "status", reply: Buffer.concat(replies), ends: false };
      if (question === "bad") return { kind: "status", reply: Buffer.concat(replies), ends: true };
      const { id, body, end: next } = question;
      this.#bytes = this.#bytes.subarray(next);
      if (id === REQUEST && body.length === 0 && !this.#isAnswered) {
        this.#isAnswered = true;
        replies.push(frame(REQUEST, text(JSON.stringify(this.#status(protocol)))));
        continue;
      }
      if (id === PING && body.length === PING_LENGTH) replies.push(frame(PING, body));
      return { kind: "status", reply: Buffer.concat(replies), ends: true };
    }
  }

  /** Without a version of its own it has the client's: the list calls another one outdated. */
  #status(asked: number): unknown {
    const { name, slots, version = "", protocol } = this.#server;
    const shown = (value: string): string => utf8(value, LONGEST_TEXT).toString("utf8");
    const about = { version: { name: shown(version), protocol: protocol ?? asked | 0 } };
    if (this.#state === "lets nobody in")
      return { ...about, description: { text: `${shown(name)}\n${this.#refusal}` } };
    const players = { max: count(slots, 0x7fffffff), online: 0, sample: [] };
    return { ...about, players, description: { text: shown(name) } };
  }
}

function end(kind: Kind | undefined): Turn {
  return { kind, reply: NOTHING, ends: true };
}
