/** The extended attributes of an open file, with capabilities and access lists. Names are decoded as latin1. */
import { constants } from "node:os";
import { check } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { pathOf } from "./proc-path.ts";

const { ENOTSUP } = constants.errno;
/** XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h. */
const MAX_BYTES = 65_536;
const room = Buffer.allocUnsafe(MAX_BYTES);

/** The attributes, sorted by name. Throws SYSTEM_ERROR. */
export function attributesOf(handle: FdHandle, where: string, sys: Native): readonly (readonly [string, Buffer])[] {
  const path = Buffer.from(pathOf(handle));
  const length = sys.listxattr(path, room);
  if (length === 0 || length === -ENOTSUP) return [];
  check("listxattr", length, where);
  const names = room.toString("latin1", 0, length).split("\0").slice(0, -1).sort();
  return names.map((name) => {
    const size = check("getxattr", sys.getxattr(path, Buffer.from(name, "latin1"), room), where);
    return [name, Buffer.from(room.subarray(0, size))] as const;
  });
}
