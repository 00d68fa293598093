/**
 * Whose a berth's sockets are: firewall rules by uid (`meta skuid`), routing rules by uid, `ss -e` and the kernel's
 * check of SO_REUSEPORT go by the user of a socket. That is the server, not the broker. Only {@link giveSockets} makes
 * calls.
 */
import { isPrivileged } from "../access/policy.ts";
import type { Berth } from "./berth/berth.ts";

/** What decides whose the sockets are. */
type Owned = Pick<Berth, "range"> & {
  readonly spec: Pick<Berth["spec"], "server" | "tenant">;
  readonly lease: { readonly tenant: { readonly uid: number } } | undefined;
};

/**
 * The tenant's user. A tenant of root or the broker's user starts a server that may be another's. While the berth is
 * vacant: the only user that its configuration names.
 */
export function socketUser({ spec: { server, tenant }, range, lease }: Owned, brokerUid: number): number {
  const holder = lease?.tenant.uid;
  if (holder !== undefined && !isPrivileged(holder, brokerUid)) return holder;
  if (server.user !== undefined) return server.user.uid;
  if (server.rangeId !== undefined && range !== undefined) return range.base + server.rangeId;
  const { uids, gids, units } = tenant;
  const [only] = uids.length === 1 && gids.length === 0 && units.length === 0 ? uids : [];
  return holder ?? only ?? brokerUid;
}

/** Whether this process is root, which it stays. To ask at each lease would be two system calls. */
const isRoot = process.geteuid?.() === 0;

/** Gives the sockets to that user. Only root can. */
export function giveSockets(berth: Berth): void {
  if (!isRoot) return;
  const uid = socketUser(berth, 0);
  for (const { socket } of berth.sockets) socket.giveTo(uid);
}
