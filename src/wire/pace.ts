/**
 * Guesses from the frames of a peer whether it waits for each reply. Then only one frame is in the socket, and its end
 * need not be looked for, which costs a system call. It never reads.
 */

/** After this many frames of one length in a row, the peer is taken to wait for each reply. */
const STEADY = 8;
/** Bytes of a frame. In the room of a longer one a peer could send many short calls, which one read would handle. */
const LONGEST = 512;

export class Pace {
  /** The length of the peer's frames, if it waits for each reply; 0: the end of a frame must be looked for. */
  steady = 0;
  #lastLength = 0;
  /** How many frames in a row had that length. */
  #sameLength = 0;

  /** A whole frame has come. */
  note(length: number, fds: number): void {
    this.#sameLength = length === this.#lastLength && fds === 0 ? this.#sameLength + 1 : 0;
    this.#lastLength = length;
    if (this.#sameLength === 0) this.steady = 0;
    else if (this.#sameLength === STEADY && length <= LONGEST) this.steady = length;
  }

  /** Something else has come than one frame of that length. */
  reset(): void {
    this.steady = 0;
    this.#sameLength = 0;
    this.#lastLength = 0;
  }
}
