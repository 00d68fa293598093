/**
 * Socket activation's variables, as sd_listen_fds_with_names(3) reads them; berth-launch writes them. Pure: the
 * caller sets CLOEXEC on the descriptors and unsets the variables.
 */

/** SD_LISTEN_FDS_START: the first descriptor passed. */
const LISTEN_FDS_START = 3;

/** A passed descriptor; its name is "unknown" where $LISTEN_FDNAMES is not set. */
export interface ListenFd {
  readonly fd: number;
  readonly name: string;
}

/**
 * The result of reading the environment: the descriptors, or why there are none for this process. `invalid` names the
 * wrong variable, where sd_listen_fds_with_names(3) returns -EINVAL.
 */
export type ListenFds =
  | { readonly fds: readonly ListenFd[] }
  | { readonly ignored: "absent" | "not ours" }
  | { readonly invalid: string };

const decimal = /^[0-9]+$/;
const INT_MAX = 0x7fffffff;

/**
 * Reads LISTEN_PID, LISTEN_PIDFDID, LISTEN_FDS and LISTEN_FDNAMES of `env` for the process `pid`. A pid can be reused;
 * `pidfdId` cannot (pidfd_open(2)). Newer kernels have it, and systemd 258 passes it in LISTEN_PIDFDID.
 */
export function parseListenFds(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
  pidfdId?: bigint,
): ListenFds {
  const forPid = env["LISTEN_PID"];
  if (forPid === undefined) return { ignored: "absent" };
  if (!decimal.test(forPid) || Number(forPid) < 1 || Number(forPid) > INT_MAX) {
    return { invalid: `LISTEN_PID is "${forPid}", which is not a process id; start the program through its launcher` };
  }
  if (Number(forPid) !== pid) return { ignored: "not ours" };
  const forPidfd = env["LISTEN_PIDFDID"];
  if (forPidfd !== undefined && !/^[0-9]{1,20}$/.test(forPidfd)) {
    return { invalid: `LISTEN_PIDFDID is "${forPidfd}", which is not the number of a pidfd's inode` };
  }
  if (forPidfd !== undefined && pidfdId !== undefined && BigInt(forPidfd) !== pidfdId) return { ignored: "not ours" };
  const number = env["LISTEN_FDS"];
  if (number === undefined) return { ignored: "absent" };
  const count = Number(number);
  if (!decimal.test(number) || count < 1 || count > INT_MAX - LISTEN_FDS_START) {
    return { invalid: `LISTEN_FDS is "${number}", which is not a number of descriptors from 1 up` };
  }
  const joined = env["LISTEN_FDNAMES"];
  const names = joined?.split(":");
  if (names !== undefined && names.length !== count) {
    return { invalid: `LISTEN_FDNAMES holds ${names.length} names, "${joined}", but LISTEN_FDS is ${count}` };
  }
  return {
    fds: Array.from({ length: count }, (_, index) => ({
      fd: LISTEN_FDS_START + index,
      name: names?.[index] ?? "unknown",
    })),
  };
}

/** Whether a descriptor can have this name: at most 255 ASCII characters, no control character, no ":". */
export function isListenFdName(name: string): boolean {
  return /^[ -9;-~]{0,255}$/.test(name);
}
