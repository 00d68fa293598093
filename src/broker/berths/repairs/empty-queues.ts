/**
 * Drops what waits in a vacant berth's UNIX sockets: a tenant can queue a descriptor of its root there, which keeps the
 * root in use when no process is left that could be ended.
 */
import type { Log } from "../../../log.ts";
import type { Guard } from "../../guard/guard.ts";
import { socketInode } from "../../sockets/passed-socket.ts";
import type { Berth } from "../berth/berth.ts";

export async function emptyQueues(berth: Berth, guard: Pick<Guard, "run">, log: Log): Promise<void> {
  if (berth.lease !== undefined || berth.incoming !== undefined) return;
  const sockets = berth.sockets.filter(({ socket }) => socket.listen.address.family === "unix");
  for (const { name, socket } of sockets) {
    const results = await guard.run(`socket ${socketInode(socket.fd)}`, [socket.fd], [{ call: "drain", index: 0 }]);
    const dropped = typeof results === "string" ? 0 : (results[0]?.value ?? 0);
    if (dropped <= 0) continue;
    const message = `berth ${berth.name}: ${dropped} connections or messages that waited in socket ${name} are dropped: the berth's root is still in use, and they may hold it`;
    log("warning", message, { event: "queue-emptied", berth: berth.name, socket: name, dropped });
  }
}
