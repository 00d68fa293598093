/** Users and groups of this system, for the configuration: getpwnam_r(3), getgrnam_r(3) and whatever NSS brings. */
import type { GroupEntry, Lookup, PasswdEntry } from "./config/lookup.ts";
import { SysError } from "./errors.ts";
import type { Native } from "./native.ts";

/** A lookup that throws SYSTEM_ERROR when the name service itself fails. */
export function systemLookup(sys: Native): Lookup {
  const entry = <T>(call: string, found: T | undefined | number): T | undefined => {
    if (typeof found === "number") throw new SysError(call, -found);
    return found;
  };
  return {
    passwd: (user: string | number): PasswdEntry | undefined => entry("getpwnam_r", sys.passwd(user)),
    group: (group: string | number): GroupEntry | undefined => entry("getgrnam_r", sys.group(group)),
  };
}
