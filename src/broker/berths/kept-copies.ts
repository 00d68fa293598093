/** Has the keeper keep a copy of each descriptor that a berth shares with tenants. It closes nothing. */
import type { Keeper } from "../guard/keeper.ts";
import type { Berth } from "./berth/berth.ts";
import type { Shutdowns } from "./repairs/shutdowns.ts";

/** Keeps what is not kept yet, and has its listeners watched. The caller flushes the keeper. */
export function keepCopies(berth: Berth, keeper: Keeper, shutdowns: Shutdowns): void {
  const whose = `berth ${berth.name}`;
  for (const { socket } of berth.sockets) {
    if (berth.lease !== undefined) socket.share();
    if (socket.keep(keeper, whose)) shutdowns.watch(socket);
  }
  for (const stashed of berth.stash.values()) stashed.kept ??= keeper.keep(whose, () => fdOf(stashed));
  if (berth.aside.length === 0) return;
  berth.aside = berth.aside.map((one) => ({ ...one, kept: one.kept ?? keeper.keep(whose, () => fdOf(one)) }));
}

function fdOf({ handle }: Pick<Berth["aside"][number], "handle">): number | undefined {
  return handle.open ? handle.fd : undefined;
}

/** Closes the descriptors of sockets that a berth has aside: others have taken over their copies in the store. */
export function leaveAside(berth: Pick<Berth, "aside">): void {
  if (berth.aside.length === 0) return;
  for (const { handle, kept } of berth.aside) {
    handle.close();
    kept?.drop();
  }
  berth.aside = [];
}
