/** A sleeping server that a doorman watches, or one that drains whose players it turns away. */
import type { RefuseOrder, WatchOrder } from "../../../doorman/messages.ts";

export interface Guest {
  readonly order: Omit<WatchOrder, "watch"> | Omit<RefuseOrder, "watch">;
  /** Borrowed until the doorman is to watch no longer. */
  readonly fds: readonly number[];
  /** Somebody wants to play, at the descriptor with this index. */
  readonly onWake: (index: number) => void;
  /** There is no doorman now: the broker has to watch. */
  readonly onAlone: () => void;
  /** There is none as long as nothing comes: the broker has to watch, and to tell of the first packet. */
  readonly onQuiet: () => void;
  /** There is one again, after onAlone. */
  readonly onAgain: () => void;
}

/** A guest of one doorman. `waiting`: its process gets it next. `alone`: the broker watches. */
export interface Housed {
  readonly guest: Guest;
  state: "waiting" | "given" | "alone";
}
