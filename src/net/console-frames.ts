/** What a reader of a console and its keeper send each other: native/launch/output/console.h documents it. Pure. */

const HEADER_LENGTH = 3;
/** The most bytes of input in a frame; kInputMax. */
const INPUT_MAX = 1024;

/** How a connection to a keeper ends. lost: without a word. */
export type ConsoleEnd = "ended" | "slow" | "full" | "lost";

export type Frame =
  /** `isOld`: from before this reader came. */
  | { readonly kind: "output"; readonly bytes: Buffer; readonly isOld: boolean }
  | { readonly kind: "end"; readonly end: ConsoleEnd };

const ends: Readonly<Record<string, ConsoleEnd>> = { e: "ended", d: "slow", f: "full" };

/** Input, in as many frames as it takes. */
export function inputFrames(input: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < input.length; at += INPUT_MAX) frames.push(frame("i", input.subarray(at, at + INPUT_MAX)));
  return Buffer.concat(frames);
}

/** The size of the terminal. */
export function sizeFrame(rows: number, columns: number): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt16LE(Math.min(rows, 0xffff), 0);
  size.writeUInt16LE(Math.min(columns, 0xffff), 2);
  return frame("w", size);
}

function frame(type: string, payload: Buffer): Buffer {
  const header = Buffer.from([type.charCodeAt(0), payload.length & 0xff, payload.length >> 8]);
  return Buffer.concat([header, payload]);
}

/** Puts frames together from what comes in pieces. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Frames of a type that this version does not know are left out. */
  push(bytes: Buffer): Frame[] {
    const whole = Buffer.concat([this.#rest, bytes]);
    const frames: Frame[] = [];
    let at = 0;
    while (whole.length - at >= HEADER_LENGTH) {
      const next = at + HEADER_LENGTH + whole.readUInt16LE(at + 1);
      if (next > whole.length) break;
      const type = String.fromCharCode(whole.readUInt8(at));
      const end = ends[type];
      if (end !== undefined) frames.push({ kind: "end", end });
      else if (type === "o" || type === "h")
        frames.push({ kind: "output", bytes: whole.subarray(at + HEADER_LENGTH, next), isOld: type === "h" });
      at = next;
    }
    this.#rest = whole.subarray(at);
    return frames;
  }
}
