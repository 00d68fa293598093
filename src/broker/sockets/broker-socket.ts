/** A socket that the broker has for itself, beside those of berths: an earlier broker's, or a new one. */

import type { SocketOptions } from "../../config/keys/socket-options.ts";
import type { Native } from "../../native.ts";
import type { ListenAddress } from "../../net/address.ts";
import { HeldSocket } from "./held-socket.ts";
import { fits, type PassedSocket } from "./passed-socket.ts";
import { socketKey } from "./socket-key.ts";
import { isInode } from "./unix-path.ts";

/** Of `passed` takes the one that fits, if its path is still there; else binds it. Throws {@link SysError}. */
export function openBrokerSocket(
  listen: ListenAddress,
  options: SocketOptions,
  passed: readonly PassedSocket[],
  sys: Native,
): HeldSocket {
  const key = socketKey(listen, options);
  const left = passed.find((one) => fits(one, listen, options, key, sys) || isAt(one, listen));
  return left === undefined ? HeldSocket.open(listen, options, sys) : HeldSocket.adopt(left, listen, options, sys);
}

/** Whether it is what stands at that path: the broker before may have written it in another way. */
function isAt({ is, stored }: PassedSocket, { kind, address }: ListenAddress): boolean {
  if (typeof is === "string" || is.kind !== kind || address.family !== "unix" || address.abstract) return false;
  return typeof stored?.path === "bigint" && isInode(address.path, stored.path);
}
