/** Closes passed sockets that no berth uses. A tenant may have had them, so the keeper closes them. */
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { Berths } from "../berths/berths.ts";
import type { Guard } from "../guard/guard.ts";
import { describePassed, dropPassed, type PassedSocket, socketInode } from "../sockets/passed-socket.ts";
import type { StoreMirror } from "./store-mirror.ts";

interface Bystanders {
  readonly berths: Berths;
  readonly guard: Guard;
  readonly mirror: StoreMirror | undefined;
  readonly sys: Native;
  readonly log: Log;
}

/** Closes passed sockets that no berth uses, and logs it. Then their addresses are free. */
export function closeUnclaimed(unclaimed: readonly PassedSocket[], parts: Bystanders): void {
  if (unclaimed.length === 0) return;
  const { keeper } = parts.guard;
  const kept = unclaimed.map((one) => {
    const { name, handle } = one;
    return { ...one, kept: keeper.keep(name, () => (handle.open ? handle.fd : undefined)) };
  });
  keeper.flush();
  const inodes = new Set(parts.berths.inodes());
  for (const one of kept) closeOne(one, inodes, parts);
  parts.mirror?.awaitRemovals();
  keeper.settle();
}

function closeOne(passed: PassedSocket, inodes: ReadonlySet<bigint>, { sys, log }: Bystanders): void {
  const { name, handle, is, storedCopy, kept } = passed;
  // A unit may pass a socket that came from the store as well.
  if (inodes.has(socketInode(handle.fd))) {
    storedCopy?.drop();
    handle.close();
    kept?.drop();
    return;
  }
  dropPassed(passed, sys);
  log("notice", `no berth uses the passed descriptor ${name} (${describePassed({ is })}): closed`, {
    event: "declined",
    name,
  });
}
