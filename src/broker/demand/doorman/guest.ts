/** A sleeping server that a doorman watches, or one that drains whose players it turns away. */
import type { RefuseOrder, WatchOrder } from "../../../doorman/interfaces/messages.ts";
import type { DoormanProcess } from "./doorman-process.ts";
import type { TapMaker, Taps } from "./taps.ts";

export interface Guest {
  /** With `hold`, if logins are to be held: the taps for that are made when a doorman gets it. */
  readonly order: Omit<WatchOrder, "watch"> | Omit<RefuseOrder, "watch">;
  /** Borrowed until the doorman is to watch no longer. */
  readonly fds: readonly number[];
  /** Somebody wants to play, at the descriptor with this index. `isHeld`: the doorman holds logins from now on. */
  readonly onWake: (index: number, isHeld: boolean) => void;
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

  #isHeld = false;

  constructor(guest: Guest) {
    this.guest = guest;
  }

  /** Gives it to a doorman. Returns 0, or -errno. Of the taps it makes for that, the broker keeps no copy. */
  give(watch: number, process: Pick<DoormanProcess, "send">, maker: TapMaker): number {
    const { order, fds } = this.guest;
    using taps = this.#tapsBy(maker);
    const given = taps === undefined ? unheld(order) : order;
    const sent = process.send({ watch, ...given }, [...fds, ...(taps?.fds ?? [])]);
    if (sent < 0) return sent;
    this.state = "given";
    this.#isHeld = taps !== undefined;
    return 0;
  }

  /** Somebody wants to play. False if that is not news. */
  wake(): boolean {
    if (this.state !== "given") return false;
    if (this.#isHeld) this.state = "woken";
    return true;
  }

  /** The doorman is to have it no longer. False if it has not. */
  takeAway(): boolean {
    const isHad = this.state === "given" || this.state === "woken";
    if (isHad) this.state = this.state === "given" ? "waiting" : "over";
    return isHad;
  }

  #tapsBy(maker: TapMaker): Taps | undefined {
    const { order, fds } = this.guest;
    if (!("hold" in order)) return undefined;
    return maker.open(fds.filter((_, index) => order.kinds[index] === "stream"));
  }
}

/** The order, with no login held. */
function unheld(order: Guest["order"]): Guest["order"] {
  if (!("hold" in order)) return order;
  const { hold: _, ...others } = order;
  return others;
}
