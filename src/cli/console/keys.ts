/**
 * What an operator's keys mean on a console. Keys that end or stop a program are held back: an operator who wants to
 * leave presses Ctrl-C, and that would end the server for all its players. Pure.
 */

/** What to do, in this order. */
export type Action =
  | { readonly kind: "type"; readonly bytes: Buffer }
  | { readonly kind: "detach" }
  | { readonly kind: "tell"; readonly message: string };

/** Ctrl-]. */
const PREFIX = 0x1d;

const held: ReadonlyMap<number, string> = new Map([
  [0x03, "Ctrl-C"],
  [0x04, "Ctrl-D"],
  [0x1a, "Ctrl-Z"],
  [0x1c, "Ctrl-\\"],
]);

/** How to leave, in a line. */
export const KEYS =
  "Ctrl-] d detaches; Ctrl-] Ctrl-C types Ctrl-C, which may end the server; Ctrl-] Ctrl-] types Ctrl-]";

export class Keys {
  #isPrefixed = false;

  push(bytes: Buffer): Action[] {
    const actions: Action[] = [];
    let begun = 0;
    const flush = (end: number): void => {
      if (end > begun) actions.push({ kind: "type", bytes: bytes.subarray(begun, end) });
      begun = end + 1;
    };
    bytes.forEach((byte, at) => {
      const name = held.get(byte);
      if (this.#isPrefixed) {
        this.#isPrefixed = false;
        if (byte === PREFIX || name !== undefined) return; // it is typed with what follows
        begun = at + 1;
        actions.push(byte === 0x64 ? { kind: "detach" } : { kind: "tell", message: KEYS });
      } else if (byte === PREFIX) {
        flush(at);
        this.#isPrefixed = true;
      } else if (name !== undefined) {
        flush(at);
        actions.push({
          kind: "tell",
          message: `${name} may end the server: Ctrl-] ${name} types it; Ctrl-] d detaches`,
        });
      }
    });
    flush(bytes.length);
    return actions;
  }
}
