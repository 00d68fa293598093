/** Constants of calls on files that node:fs does not have. */

/** openat2(2): what `resolve` can forbid. */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

/** lseek(2): the next data, or the next hole, at or after the offset. */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Operations of flock(2). */
export const LOCK_SH = 1;
export const LOCK_EX = 2;

/** Locks of fcntl(2): shared, which needs a file open for reading, and exclusive, which needs one open for writing. */
export const F_RDLCK = 0;
export const F_WRLCK = 1;
