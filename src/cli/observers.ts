/** The users of `berthd --observer`. */
import type { Accounts } from "../accounts.ts";
import type { TenantSpec } from "../config/keys/spec.ts";
import { BerthError } from "../errors.ts";
import type { Log } from "../log.ts";

/** A user that does not exist is logged: that must not keep the berths from being served. */
export function observersOf(names: readonly string[], accounts: Accounts, log: Log): TenantSpec {
  const uids = names.flatMap((name) => {
    if (/^\d{1,10}$/.test(name)) return Number(name);
    const uid = uidOf(name, accounts);
    if (typeof uid === "number") return uid;
    const message = `--observer ${name}: ${uid}`;
    log("warning", message, { event: "observer" });
    return [];
  });
  return { uids, gids: [], units: [] };
}

/** A user's id, or why it is not known. */
function uidOf(name: string, accounts: Accounts): number | string {
  try {
    return (
      accounts.passwd(name)?.uid ?? `there is no such user; create it (useradd --system ${name}), then restart berthd`
    );
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    return error.message;
  }
}
