/**
 * How the datagrams look by which a client joins a game, by protocol: what is at which place of the payload. They are
 * the packets that a client sends again until it is answered. Status queries and the packets of players look otherwise.
 * Pure data.
 */

/** An unsigned big-endian integer of `size` bytes at `offset`, of which the bits of `mask` are `value`. */
export interface JoinField {
  readonly offset: number;
  readonly size: 1 | 4;
  readonly value: number;
  readonly mask?: number;
}

/** All of its fields are there. A shorter datagram is none. */
export type JoinShape = readonly JoinField[];

const byte = (offset: number, value: number, mask?: number): JoinField => ({
  ...{ offset, size: 1, value },
  ...(mask !== undefined && { mask }),
});
const word = (offset: number, value: number): JoinField => ({ offset, size: 4, value });
/** Four letters. */
const text = (offset: number, letters: string): JoinField =>
  word(offset, Buffer.from(letters, "latin1").readUInt32BE());

/** Quake's mark of a packet outside of a connection. */
const outside = word(0, 0xffffffff);
/** `getchallenge`, then `connect`. */
const quake: readonly JoinShape[] = [
  [outside, text(4, "getc")],
  [outside, text(4, "conn")],
];
/** A2S_GETCHALLENGE and C2S_CONNECT of Source; GoldSource has Quake's words. */
const source: readonly JoinShape[] = [[outside, byte(4, 0x71)], [outside, byte(4, 0x6b)], ...quake];
/** RakNet: open connection request 1 and 2, each followed by the magic of packets outside of a connection. */
const raknet: readonly JoinShape[] = [0x05, 0x07].map((id) => [byte(0, id), word(1, 0x00ffff00), word(5, 0xfefefefe)]);
/**
 * Control messages without a chunk: of 0.6 the connect, of 0.7 the connect and the request for a token before it. Of
 * 0.7, a server list asks for a token in the same way, and the next server would not know one of this server's.
 */
const teeworldsConnects: readonly JoinShape[] = [
  [byte(0, 0x10, 0xf0), byte(2, 0), byte(3, 1)],
  [byte(0, 0x04, 0xfc), byte(2, 0), byte(7, 1)],
];
const teeworlds: readonly JoinShape[] = [...teeworldsConnects, [byte(0, 0x04, 0xfc), byte(2, 0), byte(7, 5)]];

/** By the names of `server.query` and `server.asleep`. */
const byProtocol: ReadonlyMap<string, readonly JoinShape[]> = new Map([
  ["quake3", quake],
  ["a2s", source],
  ["valve", source],
  ["goldsrc", source],
  ["bedrock", raknet],
  ["minecraftbedrock", raknet],
  ["teeworlds", teeworlds],
]);

/** The names of the protocols whose joins are known. */
export const JOIN_PROTOCOLS: readonly string[] = [...byProtocol.keys()];

/** Those of the first protocol that is known; undefined where it is not known how a client joins. */
export function joinShapes(...protocols: readonly (string | undefined)[]): readonly JoinShape[] | undefined {
  const found = protocols.find((one) => one !== undefined && byProtocol.has(one));
  return found === undefined ? undefined : byProtocol.get(found);
}

/** Whether a payload has one of the shapes. */
export function isJoin(payload: Uint8Array, shapes: readonly JoinShape[]): boolean {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const has = ({ offset, size, value, mask }: JoinField): boolean => {
    if (offset + size > payload.length) return false;
    const is = size === 1 ? view.getUint8(offset) : view.getUint32(offset);
    return (mask === undefined ? is : is & mask) === value;
  };
  return shapes.some((shape) => shape.every(has));
}

/** The protocols that can tell a player why nobody gets in: Minecraft Java by TCP, the others by UDP. */
export type Refusing = "minecraft" | RefusingByDatagram;
export type RefusingByDatagram = "quake3" | "a2s" | "teeworlds";

/** By the names of `server.query` and `server.asleep`. RakNet, so Bedrock, has no refusal with a text. */
const refusing: ReadonlyMap<string, Refusing> = new Map([
  ["minecraft", "minecraft"],
  ["quake3", "quake3"],
  ["a2s", "a2s"],
  ["valve", "a2s"],
  ["goldsrc", "a2s"],
  ["teeworlds", "teeworlds"],
]);

/** The names of the protocols that can tell players. */
export const REFUSING_NAMES: readonly string[] = [...refusing.keys()];

/** That of the first name that has one. */
export function refusingProtocol(...names: readonly (string | undefined)[]): Refusing | undefined {
  const found = names.find((one) => one !== undefined && refusing.has(one));
  return found === undefined ? undefined : refusing.get(found);
}

/**
 * The last packets of joins, long enough for an answer with a text. What comes before them, a question for a challenge
 * or a token, is the server's to answer: the answer would be longer.
 */
const lastShapes: Readonly<Record<RefusingByDatagram, readonly JoinShape[]>> = {
  quake3: [[outside, text(4, "conn")]],
  a2s: [
    [outside, byte(4, 0x6b)],
    [outside, text(4, "conn")],
  ],
  teeworlds: teeworldsConnects,
};

/** Those that are dropped where players are told why. Undefined where the protocol has no such datagrams. */
export function lastJoinShapes(protocol: Refusing | undefined): readonly JoinShape[] | undefined {
  return protocol === undefined || protocol === "minecraft" ? undefined : lastShapes[protocol];
}
