/** Users and groups of this system, and which numbers their ids can be. Only {@link systemAccounts} asks the system. */
import { SysError } from "./errors.ts";

/** A passwd(5) entry as getpwnam_r(3) and getpwuid_r(3) give it, with the user's groups (getgrouplist(3)). */
export interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly home: string;
  readonly shell: string;
}

/** A group(5) entry. */
export interface GroupEntry {
  readonly name: string;
  readonly gid: number;
}

/** Finds users and groups by name or by id; undefined: there is none. */
export interface Accounts {
  passwd(user: string | number): PasswdEntry | undefined;
  group(group: string | number): GroupEntry | undefined;
}

/** The addon's calls for it: undefined if there is none, -errno if the name service failed. */
export interface AccountCalls {
  /** getpwnam_r(3) or getpwuid_r(3). */
  passwd(user: string | number): PasswdEntry | undefined | number;
  /** getgrnam_r(3) or getgrgid_r(3). */
  group(group: string | number): GroupEntry | undefined | number;
}

/** The highest id of a user or group. The one above it, (uid_t)-1, means "no change" to the kernel (chown(2)). */
export const MAX_ID = 0xffff_fffe;

/** How many ids a range has, and what its first id is a multiple of: as systemd-nspawn's and systemd-nsresourced's. */
export const RANGE_SIZE = 65_536;

/** The highest id that a range may have: some programs read an id from 2³¹ up as a negative number. */
export const MAX_RANGE_ID = 0x7fff_ffff;

/** Whether a range can begin at this id: aligned, above the host's own users, and not too high. */
export function isRangeBase(id: number): boolean {
  return Number.isInteger(id) && id % RANGE_SIZE === 0 && id >= RANGE_SIZE && id <= MAX_RANGE_BASE;
}

/** The highest id that a range can begin at. */
export const MAX_RANGE_BASE: number = MAX_RANGE_ID - (RANGE_SIZE - 1);

/** The accounts of this system: passwd(5), group(5) and what NSS adds. They throw SYSTEM_ERROR if NSS fails. */
export function systemAccounts(sys: AccountCalls): Accounts {
  const found = <T>(call: string, result: T | undefined | number): T | undefined => {
    if (typeof result === "number") throw new SysError(call, -result);
    return result;
  };
  return {
    passwd: (user) => found("getpwnam_r", sys.passwd(user)),
    group: (group) => found("getgrnam_r", sys.group(group)),
  };
}
