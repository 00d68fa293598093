/** Begins to have copies of what tenants have kept in the keeper. */
import { keepCopies } from "./berths/kept-copies.ts";
import { noteHeld } from "./configuration.ts";
import type { Settled } from "./parts.ts";
import { notedKeeper } from "./restart/last-keeper.ts";

/** From here on what tenants get has a copy in the keeper before they get it. */
export function beginKeeping(parts: Settled): void {
  const { berths, events, guard } = parts;
  const { keeper } = guard;
  keeper.onBorn = (pid, pidfd) => {
    parts.locks.keeper = notedKeeper(pid, pidfd);
    noteHeld(parts);
  };
  for (const berth of berths.all()) keepCopies(berth, keeper);
  keeper.start();
  keeper.flush();
  events.record((_, berth) => {
    keepCopies(berth, keeper);
    keeper.flush();
  });
}
