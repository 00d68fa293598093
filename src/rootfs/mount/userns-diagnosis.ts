/**
 * Explains why the kernel refused a user namespace, or an overlay in one: a setting, a chroot, or a mount in an image.
 * Each explanation says what to change. It changes nothing itself.
 */
import { readFileSync } from "node:fs";

const settings = [
  {
    path: "/proc/sys/user/max_user_namespaces",
    forbids: (value: string) => value === "0",
    remedy: "this host allows no user namespaces: allow them with `sysctl -w user.max_user_namespaces=1000`",
  },
  {
    path: "/proc/sys/kernel/unprivileged_userns_clone",
    forbids: (value: string) => value === "0",
    remedy:
      "this host allows only root to make user namespaces: allow others with `sysctl -w kernel.unprivileged_userns_clone=1`",
  },
  {
    path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    forbids: (value: string) => value !== "0",
    remedy:
      "AppArmor restricts user namespaces here: run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, " +
      "or give berth-launch an AppArmor profile with `userns`",
  },
];

const CHROOT =
  "berthd runs in a chroot, where the kernel makes no user namespace (user_namespaces(7)): start berthd outside it";
const NOT_PERMITTED =
  "a chroot or a container's seccomp filter forbids it: start berthd outside them; to check, run `unshare --user true`";
const LIMIT_REACHED =
  "the limit of user namespaces is reached: raise it with `sysctl -w user.max_user_namespaces=NUMBER`";

/** Errors of a system that forbids user namespaces, or mounts in them. */
const FORBIDDEN = /Operation not permitted|Permission denied|No space left on device|Too many users/;
/** The kernel's error for a layer with other mounts inside it. */
const UNFIT = /Invalid argument/;

/** Reads a small file. Undefined when it cannot be read. */
export type ReadText = (path: string) => string | undefined;

/** Explains the helper's error `said`. Undefined when no setting, chroot or mount in an image explains it. */
export function whyNoNamespace(said: string, images: readonly string[], read: ReadText = readText): string | undefined {
  if (FORBIDDEN.test(said)) return forbiddingSetting(read) ?? (isChroot(read) ? CHROOT : undefined);
  if (!UNFIT.test(said)) return undefined;
  const mounted = mountPoints(read).find((point) => images.some((image) => point.startsWith(`${image}/`)));
  return (
    mounted && `${mounted} is mounted inside the image, and only root can leave it out: run \`umount '${mounted}'\``
  );
}

/** Explains the errno of a failed clone(2) or unshare(2) with CLONE_NEWUSER. Undefined for other errors. */
export function whyErrno(errnoName: string, read: ReadText = readText): string | undefined {
  if (errnoName === "ENOSPC" || errnoName === "EUSERS") return forbiddingSetting(read) ?? LIMIT_REACHED;
  if (errnoName !== "EPERM" && errnoName !== "EACCES") return undefined;
  return forbiddingSetting(read) ?? (isChroot(read) ? CHROOT : NOT_PERMITTED);
}

function forbiddingSetting(read: ReadText): string | undefined {
  return settings.find(({ path, forbids }) => {
    const value = read(path)?.trim();
    return value !== undefined && forbids(value);
  })?.remedy;
}

/** In a chroot to a plain folder, no mount point is `/`: the kernel lists only mounts below the process's root. */
function isChroot(read: ReadText): boolean {
  const points = mountPoints(read);
  return points.length > 0 && !points.includes("/");
}

function mountPoints(read: ReadText): string[] {
  return (read("/proc/self/mountinfo") ?? "").split("\n").flatMap((line) => {
    const point = line.split(" ")[4];
    return point === undefined ? [] : [withoutEscapes(point)];
  });
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** The kernel writes blanks and backslashes in octal (proc_pid_mountinfo(5)). */
function withoutEscapes(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
