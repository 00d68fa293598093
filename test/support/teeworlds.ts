/**
 * A player of Teeworlds 0.7, as far as a test needs one: it joins, is in the game, and hears the chat. Numbers, sizes
 * and the table of frequencies are those of github.com/teeworlds/teeworlds, whose files are named where they are used.
 * What the server does not acknowledge is sent again, as the game's client does.
 */
import { createSocket, type Socket } from "node:dgram";

/** src/engine/shared/network.h */
const FLAG = { control: 1, resend: 2, compression: 4, connless: 8 } as const;
const CONTROL = { keepAlive: 0, connect: 1, accept: 2, close: 4, token: 5 } as const;
const NO_TOKEN = 0xffffffff;
const TOKEN_PADDING = 512;
const CHUNK_VITAL = 1;
const SEQUENCES = 1024;
const HEADER = 7;

/** src/engine/shared/protocol.h; the least bit of a message's number says that it is one of these. */
const SYSTEM = { info: 1, mapChange: 2, conReady: 5, ready: 18, enterGame: 19 } as const;
/** datasrc/network.py, counted from 1. */
const GAME = { chat: 3, readyToEnter: 8, startInfo: 27 } as const;
/** src/game/version.h */
const NET_VERSION = "0.7 802f1be60a05665f";
const CLIENT_VERSION = 0x0705;

const AGAIN_MS = 200;
/** How long to wait for the server. */
const PATIENCE_MS = 60_000;

/** What has become of a player. */
export interface Fate {
  /** The texts that the server itself said in the chat. */
  readonly told: readonly string[];
  /** ECONNREFUSED: nobody had the port. */
  readonly refused: number;
  /** Why the server has ended the game, if it has. */
  readonly closed: string | undefined;
}

export class Tee implements Disposable {
  readonly #socket: Socket = createSocket("udp4");
  readonly #name: string;
  readonly #token = 0x62657274;
  #peer = NO_TOKEN;
  #state: "token" | "connect" | "online" = "token";
  #isInGame = false;
  #closed: string | undefined;
  #refused = 0;
  readonly #told: string[] = [];
  /** The last sequence numbers: the server's that came, and this player's that was sent. */
  #ack = 0;
  #sequence = 0;
  /** Sent and not acknowledged. */
  #unheard: { readonly sequence: number; readonly body: Buffer }[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #watchers = new Set<() => void>();

  constructor(port: number, name: string) {
    this.#name = name;
    this.#socket.on("message", (packet) => this.#hear(packet));
    this.#socket.on("error", () => this.#refused++);
    this.#socket.connect(port, "127.0.0.1", () => this.#again());
    this.#timer = setInterval(() => this.#again(), AGAIN_MS);
  }

  get fate(): Fate {
    return { told: this.#told, refused: this.#refused, closed: this.#closed };
  }

  /** Resolves once it is in the game. Rejects when it was turned away. */
  async joined(): Promise<void> {
    await this.#until(() => this.#isInGame);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#state === "online") this.#control(CONTROL.close);
    this.#socket.close();
  }

  async #until(test: () => boolean): Promise<void> {
    while (!test()) {
      if (this.#closed !== undefined) throw new Error(`the server ended the game: ${this.#closed}`);
      await this.#change();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the server says nothing to ${this.#name}`)), PATIENCE_MS);
      this.#watchers.add(() => {
        clearTimeout(late);
        resolve();
      });
    });
  }

  #again(): void {
    if (this.#closed !== undefined) return;
    if (this.#state === "token") this.#control(CONTROL.token, tokenOf(this.#token), Buffer.alloc(TOKEN_PADDING));
    else if (this.#state === "connect")
      this.#control(CONTROL.connect, tokenOf(this.#token), Buffer.alloc(TOKEN_PADDING));
    else if (this.#unheard.length === 0) this.#control(CONTROL.keepAlive);
    else for (const { sequence, body } of this.#unheard) this.#sendChunk(sequence, body);
  }

  #hear(packet: Buffer): void {
    const flags = (packet[0] ?? 0) >> 2;
    if (packet.length < HEADER || (flags & FLAG.connless) !== 0 || packet.readUInt32BE(3) !== this.#token) return;
    const acknowledged = (((packet[0] ?? 0) & 3) << 8) | (packet[1] ?? 0);
    this.#unheard = this.#unheard.filter(({ sequence }) => isAfter(sequence, acknowledged));
    const rest = packet.subarray(HEADER);
    if ((flags & FLAG.control) !== 0) this.#hearControl(rest);
    else this.#hearChunks((flags & FLAG.compression) === 0 ? rest : decompress(rest), packet[2] ?? 0);
    for (const watcher of [...this.#watchers]) watcher();
    this.#watchers.clear();
  }

  #hearControl(said: Buffer): void {
    const [what] = said;
    if (what === CONTROL.token && this.#state === "token" && said.length >= 5) {
      this.#peer = said.readUInt32BE(1);
      this.#state = "connect";
      this.#again();
    } else if (what === CONTROL.accept && this.#state === "connect") {
      this.#state = "online";
      this.#say(SYSTEM.info, true, text(NET_VERSION), text(""), integer(CLIENT_VERSION));
    } else if (what === CONTROL.close) this.#closed ??= said.subarray(1, said.indexOf(0, 1)).toString();
  }

  #hearChunks(data: Buffer, count: number): void {
    let at = 0;
    for (let chunk = 0; chunk < count && at + 2 <= data.length; chunk++) {
      const [first = 0, second = 0, third = 0] = data.subarray(at, at + 3);
      const isVital = ((first >> 6) & CHUNK_VITAL) !== 0;
      const size = ((first & 0x3f) << 6) | (second & 0x3f);
      const sequence = ((second & 0xc0) << 2) | third;
      at += isVital ? 3 : 2;
      const body = data.subarray(at, at + size);
      at += size;
      if (isVital && sequence !== (this.#ack + 1) % SEQUENCES) continue; // the server sends it again
      if (isVital) this.#ack = sequence;
      this.#hearMessage(new Unpacker(body));
    }
  }

  #hearMessage(message: Unpacker): void {
    const number = message.integer();
    if ((number & 1) !== 0) this.#hearSystem(number >> 1);
    else if (number >> 1 === GAME.readyToEnter) {
      this.#isInGame = true;
      this.#say(SYSTEM.enterGame, true);
    } else if (number >> 1 === GAME.chat) {
      const [, from] = [message.integer(), message.integer(), message.integer()];
      if (from === -1) this.#told.push(message.text());
    }
  }

  #hearSystem(number: number): void {
    if (number === SYSTEM.mapChange) return this.#say(SYSTEM.ready, true);
    if (number !== SYSTEM.conReady) return;
    const parts = ["standard", "", "", "standard", "standard", "standard"].map(text);
    const numbers = Array.from({ length: 12 }, () => integer(0));
    this.#say(GAME.startInfo, false, text(this.#name), text(""), integer(-1), ...parts, ...numbers);
  }

  #say(number: number, isSystem: boolean, ...fields: readonly Buffer[]): void {
    const body = Buffer.concat([integer((number << 1) | (isSystem ? 1 : 0)), ...fields]);
    this.#sequence = (this.#sequence + 1) % SEQUENCES;
    this.#unheard.push({ sequence: this.#sequence, body });
    this.#sendChunk(this.#sequence, body);
  }

  #sendChunk(sequence: number, body: Buffer): void {
    const { length } = body;
    const head = [(CHUNK_VITAL << 6) | (length >> 6), (length & 0x3f) | ((sequence >> 2) & 0xc0), sequence & 0xff];
    this.#send(0, 1, Buffer.from(head), body);
  }

  #control(what: number, ...more: readonly Buffer[]): void {
    this.#send(FLAG.control, 0, Buffer.from([what]), ...more);
  }

  #send(flags: number, chunks: number, ...parts: readonly Buffer[]): void {
    const head = [(flags << 2) | (this.#ack >> 8), this.#ack & 0xff, chunks];
    this.#socket.send(Buffer.concat([Buffer.from(head), tokenOf(this.#peer), ...parts]), () => undefined);
  }
}

function tokenOf(token: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(token);
  return bytes;
}

/** Whether a sequence number comes after another one: at most half of them are on their way. */
function isAfter(sequence: number, other: number): boolean {
  return ((sequence - other + SEQUENCES) % SEQUENCES) - 1 < SEQUENCES / 2 && sequence !== other;
}

/** src/engine/shared/compression.cpp: ESDDDDDD EDDDDDDD … */
function integer(value: number): Buffer {
  let left = value < 0 ? ~value : value;
  const bytes = [(left & 0x3f) | (value < 0 ? 0x40 : 0)];
  for (left >>= 6; left > 0; left >>= 7) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
    bytes.push(left & 0x7f);
  }
  return Buffer.from(bytes);
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

class Unpacker {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  integer(): number {
    const first = this.#next();
    let value = first & 0x3f;
    let byte = first;
    for (let shift = 6; (byte & 0x80) !== 0 && shift < 32; shift += 7) {
      byte = this.#next();
      value |= (byte & 0x7f) << shift;
    }
    return (first & 0x40) === 0 ? value : ~value;
  }

  text(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    return this.#bytes.subarray(this.#at, end < 0 ? undefined : end).toString();
  }

  #next(): number {
    return this.#bytes[this.#at++] ?? 0;
  }
}

type Leaf = { readonly frequency: number; readonly symbol: number };
type Node = Leaf | { readonly frequency: number; readonly leaves: readonly [Node, Node] };

/** src/engine/shared/huffman.cpp */
const FREQUENCIES = (
  "1073741824 4545 2657 431 1950 919 444 482 2244 617 838 542 715 1814 304 240 754 212 647 186 283 131 146 166 543 " +
  "164 167 136 179 859 363 113 157 154 204 108 137 180 202 176 872 404 168 134 151 111 113 109 120 126 129 100 41 " +
  "20 16 22 18 18 17 19 16 37 13 21 362 166 99 78 95 88 81 70 83 284 91 187 77 68 52 68 59 66 61 638 71 157 50 46 " +
  "69 43 11 24 13 19 10 12 12 20 14 9 20 20 10 10 15 15 12 12 7 19 15 14 13 18 35 19 17 14 8 5 15 17 9 15 14 18 8 " +
  "10 2173 134 157 68 188 60 170 60 194 62 175 71 148 67 167 78 211 67 156 69 1674 90 174 53 147 89 181 51 174 63 " +
  "163 80 167 94 128 122 223 153 218 77 200 110 190 73 174 69 145 66 277 143 141 60 136 53 180 57 142 57 158 61 " +
  "166 112 152 92 26 22 21 28 20 26 30 21 32 27 20 17 23 21 30 22 22 21 27 25 17 27 23 18 39 26 15 21 12 18 18 27 " +
  "20 18 15 19 11 17 33 12 18 15 19 18 16 26 17 18 9 10 25 22 22 17 20 16 6 16 15 20 14 18 24 335"
)
  .split(" ")
  .map(Number);
const END = 256;

/** The two rarest are joined until one is left. Of the same frequency, the last one in the list is the rarest. */
function tree(): Node {
  let nodes: Node[] = [...FREQUENCIES, 1].map((frequency, symbol) => ({ frequency, symbol }));
  for (;;) {
    nodes = nodes.sort((a, b) => b.frequency - a.frequency);
    const [rarest, next] = [nodes.pop(), nodes.pop()];
    if (rarest === undefined) throw new Error("no symbols");
    if (next === undefined) return rarest;
    nodes.push({ frequency: rarest.frequency + next.frequency, leaves: [rarest, next] });
  }
}

const ROOT = tree();

function decompress(packed: Buffer): Buffer {
  const bytes: number[] = [];
  let node = ROOT;
  for (let bit = 0; bit < packed.length * 8; bit++) {
    if ("symbol" in node) throw new Error("a tree of one symbol");
    node = node.leaves[((packed[bit >> 3] ?? 0) >> (bit & 7)) & 1 ? 1 : 0];
    if (!("symbol" in node)) continue;
    if (node.symbol === END) return Buffer.from(bytes);
    bytes.push(node.symbol);
    node = ROOT;
  }
  throw new Error("a compressed packet has no end");
}
