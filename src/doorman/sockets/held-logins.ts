/** The logins that wait for a server in the queue of a listening socket, and until when. Pure. */

interface Login {
  /** How many connections had come when it did, of all that were ever in the queue. */
  readonly place: number;
  /** In milliseconds of a clock that goes forward. */
  readonly until: number;
}

export class HeldLogins {
  readonly #hold: number;
  /** The oldest first. */
  readonly #logins: Login[] = [];
  /** How many had come at the last look: those that were accepted here, and those that wait. */
  #came = 0;
  #due = 0;

  /** How long each may wait, in milliseconds. */
  constructor(hold: number) {
    this.#hold = hold;
  }

  get isAny(): boolean {
    return this.#logins.length > 0;
  }

  /** A login has come, and it is the last one of `place` connections. */
  add(place: number, now: number): void {
    this.#logins.push({ place, until: now + this.#hold });
  }

  /** Whether the server has accepted a connection since the last look: then fewer have come than had before. */
  isServed(came: number): boolean {
    const isServed = came < this.#came;
    this.#came = came;
    return isServed;
  }

  /** How many connections are to be accepted here, of all that ever came: up to the last login whose time is over. */
  due(now: number): number {
    for (;;) {
      const [first] = this.#logins;
      if (first === undefined || first.until > now) return this.#due;
      this.#due = Math.max(this.#due, first.place);
      this.#logins.shift();
    }
  }
}
