/** A socket of the broker itself, not of a berth: one that an earlier broker left, or a new one. */

import type { SocketOptions } from "../../../config/keys/socket-options.ts";
import type { Native } from "../../../native.ts";
import type { ListenAddress } from "../../../net/address.ts";
import { HeldSocket } from "../held-socket.ts";
import { fits, type PassedSocket } from "../passed-socket.ts";
import { socketKey } from "../socket-key.ts";
import { isInode } from "../unix-path.ts";

/**
 * Takes over the fitting socket of `passed` if its path still exists; else binds a new one. Throws {@link SysError}.
 */
export function openBrokerSocket(
  listen: ListenAddress,
  options: SocketOptions,
  passed: readonly PassedSocket[],
  sys: Native,
): HeldSocket {
  const key = socketKey(listen, options);
  const left = passed.find((one) => fits(one, listen, options, key, sys) || isAt(one, listen));
  return left === undefined
    ? HeldSocket.open(listen, options, sys)
    : HeldSocket.adopt(left, listen, options, sys, "broker");
}

/** Whether the socket has that path. An earlier broker may have written the same path in another way. */
function isAt({ is, stored }: PassedSocket, { kind, address }: ListenAddress): boolean {
  if (typeof is === "string" || is.kind !== kind || address.family !== "unix" || address.abstract) return false;
  return typeof stored?.path === "bigint" && isInode(address.path, stored.path);
}
