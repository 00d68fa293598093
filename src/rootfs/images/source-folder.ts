/**
 * Opens the folder that is imported. On the way to it this follows only links of root or of the caller: another user
 * could lead the import to what root alone may read. It says who else may change the folder.
 */
import { constants, fstatSync, readlinkSync } from "node:fs";
import { constants as os } from "node:os";
import { resolve } from "node:path";
import { BerthError, check, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { AT_FDCWD, type Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { system } from "../disk/durable.ts";
import type { OpenTree } from "../disk/open-tree.ts";
import { pathOf } from "../disk/proc-path.ts";
import { targetOf } from "../disk/tree-walk.ts";

/** As many as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;

/** Opens the folder. Throws SYSTEM_ERROR, or IMPORT_FAILED for a link of another user. */
export function openSource(path: string, sys: Native): OpenTree & Disposable {
  const names = namesIn(resolve(path));
  let folder = open(undefined, "/", "/", sys);
  let links = 0;
  try {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const where = `${folderName(folder)}/${name}`;
      const next = open(folder, name, where, sys);
      const stat = system(where, () => fstatSync(next.fd));
      if (!stat.isSymbolicLink()) {
        folder.close();
        folder = next;
        continue;
      }
      using link = next;
      const target = targetOf(link, where, sys).toString();
      if (!isTrusted(stat.uid)) {
        throw new BerthError(
          "IMPORT_FAILED",
          `${where} is a link of uid ${stat.uid}, who can change where it leads; name the folder that you mean: ${target}`,
        );
      }
      if (++links > MAX_LINKS) throw new SysError("openat2", os.errno.ELOOP, path);
      names.unshift(...namesIn(target));
      if (!target.startsWith("/")) continue;
      folder.close();
      folder = open(undefined, "/", "/", sys);
    }
    const opened = folder;
    return { folder, path: folderName(folder), [Symbol.dispose]: () => opened.close() };
  } catch (error) {
    folder.close();
    throw error;
  }
}

/** A sentence about who else may change the folder while it is imported. Undefined if nobody. */
export function othersWhoMayWrite({ folder, path }: OpenTree): string | undefined {
  const { uid, gid, mode } = system(path, () => fstatSync(folder.fd));
  const who = !isTrusted(uid)
    ? `uid ${uid}`
    : (mode & 0o002) !== 0
      ? "every user"
      : (mode & 0o020) !== 0 && ![0, process.getegid?.()].includes(gid)
        ? `group ${gid}`
        : undefined;
  return who && `${who} can write to ${path}; the image has what is in the folder during the import`;
}

function isTrusted(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function open(folder: FdHandle | undefined, name: string, where: string, sys: Native): FdHandle {
  const fd = sys.openat2(folder?.fd ?? AT_FDCWD, Buffer.from(name), O_PATH | constants.O_NOFOLLOW, 0, 0);
  return FdHandle.adopt(check("openat2", fd, where), sys);
}

function folderName(folder: FdHandle): string {
  return readlinkSync(pathOf(folder)).replace(/^\/$/, "");
}

function namesIn(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}
