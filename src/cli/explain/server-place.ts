/** As whom and where explain runs a server, and what the berth says of it. */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import type { Accounts, PasswdEntry } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import type { ServerUser } from "./suggestion.ts";

/** The user of `--user`. Only root can become another one. */
export function userOf(name: string, uid: number, accounts: Accounts): PasswdEntry | undefined {
  const found = accounts.passwd(/^\d+$/.test(name) ? Number(name) : name);
  if (found === undefined) throw new BerthError("USAGE", `there is no user ${printable(name)}; see: getent passwd`);
  if (uid === 0) return found;
  if (uid === found.uid) return undefined;
  throw new BerthError("USAGE", `only root can run a server as ${printable(name)}; write sudo berth explain --user …`);
}

/**
 * Whom the berth names. If root has run the server without `--user`, that is who called sudo(8), or nobody: a server
 * runs as root only where an operator writes so.
 */
export function serverUser(
  asked: PasswdEntry | undefined,
  uid: number,
  sudoUser: string | undefined,
  accounts: Accounts,
): ServerUser | undefined {
  if (asked !== undefined) return { name: asked.name, mayTake: false, isGuess: false };
  const known = (name: string | number | undefined) => (name === undefined ? undefined : accounts.passwd(name));
  if (uid !== 0) {
    const own = known(uid);
    return own && { name: own.name, mayTake: true, isGuess: false };
  }
  const caller = known(sudoUser);
  const found = caller === undefined || caller.uid === 0 ? known("nobody") : caller;
  return found && { name: found.name, mayTake: false, isGuess: true };
}

/** The folder, or / where this user may not enter it: the permission bits of all folders above it are looked at. */
export function folderFor(user: PasswdEntry | undefined, folder: string): string {
  if (user === undefined || user.uid === 0) return folder;
  for (let at = folder; ; at = dirname(at)) {
    const { uid, gid, mode } = statSync(at);
    const shift = uid === user.uid ? 6 : gid === user.gid || user.groups.includes(gid) ? 3 : 0;
    if ((mode & (1 << shift)) === 0) return "/";
    if (at === "/") return folder;
  }
}
