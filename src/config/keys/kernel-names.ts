/** The kernel's names for capabilities and resource limits. */

/** By number, CAP_CHOWN being 0 (linux/capability.h, Linux 6.18). */
export const capabilityNames: readonly string[] = [
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE",
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN",
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE",
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE",
].flatMap((line) => line.split(" ").map((name) => `CAP_${name}`));

/** What a limit counts: bytes may be written with K, M or G. */
export type LimitUnit = "bytes" | "seconds" | "microseconds" | "a number";

/** RLIMIT_… in lower case (setrlimit(2)). */
export const limitUnits: ReadonlyMap<string, LimitUnit> = new Map<string, LimitUnit>([
  ["as", "bytes"],
  ["core", "bytes"],
  ["cpu", "seconds"],
  ["data", "bytes"],
  ["fsize", "bytes"],
  ["locks", "a number"],
  ["memlock", "bytes"],
  ["msgqueue", "bytes"],
  ["nice", "a number"],
  ["nofile", "a number"],
  ["nproc", "a number"],
  ["rss", "bytes"],
  ["rtprio", "a number"],
  ["rttime", "microseconds"],
  ["sigpending", "a number"],
  ["stack", "bytes"],
]);
