/** Closes a passed socket that no berth uses, and logs it. */

import type { Log } from "../../log.ts";
import type { Berths } from "../berths/berths.ts";
import { describePassed, dropPassed, type PassedSocket, socketInode } from "../sockets/passed-socket.ts";

export function closeUnclaimed(passed: PassedSocket, berths: Berths, log: Log): void {
  const { name, handle, is, storedCopy } = passed;
  // A unit may pass a socket that came from the store as well.
  if (berths.inodes().includes(socketInode(handle.fd))) {
    storedCopy?.drop();
    handle.close();
    return;
  }
  dropPassed(passed);
  log("notice", `no berth uses the passed descriptor ${name} (${describePassed({ is })}): closed`, {
    event: "declined",
    name,
  });
}
