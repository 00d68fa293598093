/** A sleeping server that a doorman watches. */
import type { WatchOrder } from "../../../doorman/messages.ts";

export interface Guest {
  readonly order: Omit<WatchOrder, "watch">;
  /** Borrowed until the doorman is to watch no longer. */
  readonly fds: readonly number[];
  /** Somebody wants to play, at the descriptor with this index. */
  readonly onWake: (index: number) => void;
  /** There is no doorman now: the broker has to watch. */
  readonly onAlone: () => void;
  /** There is one again, after onAlone. */
  readonly onAgain: () => void;
}
