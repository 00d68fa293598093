/** Closes a passed socket that no berth uses, and logs it. */

import type { Log } from "../../log.ts";
import type { Berths } from "../berths/berths.ts";
import { describePassed, type PassedSocket, socketInode } from "../sockets/passed-socket.ts";
import { removeUnixPath } from "../sockets/unix-path.ts";

export function closeUnclaimed({ name, handle, is, stored, storedCopy }: PassedSocket, berths: Berths, log: Log): void {
  const inode = socketInode(handle.fd);
  storedCopy?.drop();
  handle.close();
  // A unit may pass a socket that came from the store as well.
  const held = berths.list().flatMap(({ sockets }) => sockets.map(({ socket }) => socketInode(socket.fd)));
  if (held.includes(inode)) return;
  const isPath = typeof is !== "string" && is.address.family === "unix" && !is.address.abstract;
  if (isPath && typeof stored?.path === "bigint") removeUnixPath(is.address.path, stored.path);
  log("notice", `no berth uses the passed descriptor ${name} (${describePassed({ is })}): closed`, {
    event: "declined",
    name,
  });
}
