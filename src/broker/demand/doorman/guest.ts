/** A sleeping server that a doorman watches, or one that drains whose players it turns away. */
import type { RefuseOrder, WatchOrder } from "../../../doorman/messages.ts";

export interface Guest {
  readonly order: Omit<WatchOrder, "watch"> | Omit<RefuseOrder, "watch">;
  /** Borrowed until the doorman is to watch no longer. */
  readonly fds: readonly number[];
  /** Somebody wants to play, at the descriptor with this index. */
  readonly onWake: (index: number) => void;
  /** After that, where logins are held: the server accepts connections. */
  readonly onServed?: () => void;
  /** There is no doorman now: the broker has to watch. */
  readonly onAlone: () => void;
  /** There is none as long as nothing comes: the broker has to watch, and to tell of the first packet. */
  readonly onQuiet: () => void;
  /** There is one again, after onAlone. */
  readonly onAgain: () => void;
}

/** A guest of one doorman, and whether that has its sockets. */
export class Housed {
  readonly guest: Guest;
  /**
   * `waiting`: its process gets it next. `woken`: it has it until the server accepts. `over`: it had it so. `alone`:
   * the broker watches.
   */
  state: "waiting" | "given" | "woken" | "over" | "alone" = "waiting";

  constructor(guest: Guest) {
    this.guest = guest;
  }

  /** Somebody wants to play. False if that is not news. */
  wake(): boolean {
    if (this.state !== "given") return false;
    if ("hold" in this.guest.order) this.state = "woken";
    return true;
  }

  /** The doorman is to have it no longer. False if it has not. */
  takeAway(): boolean {
    const isHad = this.state === "given" || this.state === "woken";
    if (isHad) this.state = this.state === "given" ? "waiting" : "over";
    return isHad;
  }
}
