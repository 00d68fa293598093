/** The processes that have copies of sockets of berths: the keeper and the doormen. The next broker waits for them. */
import { keepCopies } from "./berths/kept-copies.ts";
import { noteHeld } from "./configuration.ts";
import type { Settled } from "./parts.ts";
import { notedProcess } from "./restart/last-processes.ts";

/** From here on what tenants get has a copy in the keeper before they get it, and is watched. */
export function beginKeeping(parts: Settled): void {
  const { berths, events, guard, shutdowns } = parts;
  const { keeper } = guard;
  keeper.onBorn = (pid, pidfd) => {
    parts.locks.keeper = notedProcess(pid, pidfd);
    noteHeld(parts);
  };
  shutdowns.begin();
  for (const berth of berths.all()) keepCopies(berth, keeper, shutdowns);
  keeper.start();
  keeper.flush();
  events.record((_, berth) => {
    keepCopies(berth, keeper, shutdowns);
    keeper.flush();
  });
}

/** Notes the doormen that there are now. The pidfds are borrowed. */
export function noteDoormen(
  parts: Settled,
  doormen: readonly { readonly pid: number; readonly pidfd: number }[],
): void {
  parts.locks.doormen = doormen.flatMap(({ pid, pidfd }) => notedProcess(pid, pidfd) ?? []);
  noteHeld(parts);
}
