/** How names of users and groups become ids. Who calls brings the lookup; the configuration asks no system itself. */

/** A passwd(5) entry with the user's groups (getgrouplist(3)). */
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
export interface Lookup {
  passwd(user: string | number): PasswdEntry | undefined;
  group(group: string | number): GroupEntry | undefined;
}
