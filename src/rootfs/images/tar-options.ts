/** Options of tar(1) for archives that keep everything, and are the same for the same files. */

/** Owners as numbers, access lists and all extended attributes but those that berthd itself writes for a while. */
export const KEEP = [
  "--numeric-owner",
  "--acls",
  "--xattrs",
  "--xattrs-include=*",
  "--xattrs-exclude=trusted.berthd.*",
] as const;

/**
 * The same files give the same bytes, and holes take no room: tar(1) writes neither its pid nor when a file was read or
 * its inode changed. Version 0.0 is the one that has no pid in the names of files with holes.
 */
export const SAME = [
  "--sort=name",
  "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
  "--sparse",
  "--sparse-version=0.0",
] as const;
