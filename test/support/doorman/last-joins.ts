/**
 * The packets by which players connect, once they have a challenge or a token, as the games' clients send them. And
 * what a client reads in an answer.
 */
import type { DatagramName } from "../../../packages/doorman/src/index.ts";
import { hex, hexAndText, text } from "./bytes.ts";

export interface LastJoin {
  readonly of: DatagramName;
  readonly bytes: Buffer;
  /** The text that the client shows. Throws Error if it would ignore the answer. */
  readonly told: (answer: Buffer) => string;
}

const outside = (value: string): Buffer => hexAndText("ffffffff", value);

/** What is between a head and an end. */
function between(head: Buffer, end: Buffer): (answer: Buffer) => string {
  return (answer) => {
    const isOne = answer.subarray(0, head.length).equals(head) && answer.subarray(-end.length).equals(end);
    if (!isOne) throw new Error(`no client reads ${answer.toString("hex")}`);
    return answer.toString("utf8", head.length, answer.length - end.length);
  };
}

const info =
  "\\ip\\127.0.0.1\\name\\UnnamedPlayer\\rate\\25000\\snaps\\20\\model\\sarge\\handicap\\100\\color1\\4\\cl_anonymous\\0";
const NUL = hex("00");

export const lastJoins: Readonly<Record<string, LastJoin>> = {
  "Quake III": {
    of: "quake3",
    // What follows the word is compressed: two bytes of length first.
    bytes: Buffer.concat([outside("connect "), hex("00c8"), Buffer.alloc(180, 0xa5)]),
    told: between(outside("print\n"), text("\n")),
  },
  "Quake III, not compressed": {
    of: "quake3",
    bytes: outside(`connect "\\challenge\\1804289383\\qport\\2711\\protocol\\71${info}"`),
    told: between(outside("print\n"), text("\n")),
  },
  "Source 2013": {
    of: "a2s",
    bytes: Buffer.concat([
      hex("ffffffff6b 18000000 03000000 01020304 05060708"),
      text("Player\0\x005135\0"),
      Buffer.alloc(240, 0x5a),
    ]),
    told: between(hex("ffffffff39 05060708"), NUL),
  },
  GoldSrc: {
    of: "a2s",
    bytes: Buffer.concat([
      outside('connect 48 1804289383 "\\prot\\3\\unique\\-1\\raw\\steam\\cdkey\\a" '),
      text(`"${info}"\n`),
      Buffer.alloc(200, 0x5a),
    ]),
    told: between(hex("ffffffff39"), NUL),
  },
  "Teeworlds 0.7": {
    of: "teeworlds",
    bytes: Buffer.concat([hex("040000 01020304 01 62657274"), Buffer.alloc(508)]),
    told: between(hex("040000 62657274 04"), NUL),
  },
};
