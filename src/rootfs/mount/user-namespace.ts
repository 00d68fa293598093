/** Makes user namespaces with the ids of a range. When the kernel refuses one, the error names the cause. */
import { errnoName, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { Range } from "../ranges/range.ts";
import { type ReadText, whyErrno } from "./userns-diagnosis.ts";

/** A user namespace with the ids of `range`, owned by the user `owner`. Throws SYSTEM_ERROR. */
export function makeUserNamespace({ base, count }: Range, owner: number, sys: Native, read?: ReadText): FdHandle {
  const fd = sys.userns(base, count, owner);
  if (fd >= 0) return FdHandle.adopt(fd, sys);
  throw new SysError("user namespace", -fd, undefined, whyErrno(errnoName(-fd), read));
}
