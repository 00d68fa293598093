/** As whom a doorman of a berth's server runs. */
import type { Berth } from "../../berths/berth/berth.ts";
import type { Identity } from "./doorman-process.ts";

/** nobody: of a server without a user. */
const NOBODY = 65_534;

/** The server's user, but never root. Without root it is the broker's own. */
export function identityOf({ spec: { server }, range }: Berth): Identity | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  if (server.user !== undefined && server.user.uid !== 0) return { uid: server.user.uid, gid: server.user.gid };
  const id = range === undefined ? NOBODY : range.base + (server.rangeId ?? 0);
  return { uid: id, gid: id };
}
