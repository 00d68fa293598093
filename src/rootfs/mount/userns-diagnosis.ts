/** Why a system lets its users make no user namespace, or no overlay in it: what to set. It changes nothing. */
import { readFileSync } from "node:fs";

const settings = [
  {
    path: "/proc/sys/user/max_user_namespaces",
    forbids: (value: string) => value === "0",
    remedy: "users may have no user namespaces here: set user.max_user_namespaces to 1000 or more with sysctl(8)",
  },
  {
    path: "/proc/sys/kernel/unprivileged_userns_clone",
    forbids: (value: string) => value === "0",
    remedy: "only root may make user namespaces here: set kernel.unprivileged_userns_clone=1 with sysctl(8)",
  },
  {
    path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    forbids: (value: string) => value !== "0",
    remedy:
      "AppArmor takes users' privilege in user namespaces away here: set kernel.apparmor_restrict_unprivileged_userns=0 " +
      "with sysctl(8), or give berth-launch a profile with `userns`",
  },
];

/** What a system says when it forbids namespaces, or mounts in them; and what the kernel says of a layer with mounts. */
const FORBIDDEN = /Operation not permitted|Permission denied|No space left on device|Too many users/;
const UNFIT = /Invalid argument/;

/** Reads a small file; undefined where there is none. */
export type ReadText = (path: string) => string | undefined;

/** The remedy for what the helper said, if the system's settings or the images' mounts explain it. */
export function whyNoNamespace(said: string, images: readonly string[], read: ReadText = readText): string | undefined {
  if (FORBIDDEN.test(said)) {
    return settings.find(({ path, forbids }) => {
      const value = read(path)?.trim();
      return value !== undefined && forbids(value);
    })?.remedy;
  }
  if (!UNFIT.test(said)) return undefined;
  const points = (read("/proc/self/mountinfo") ?? "")
    .split("\n")
    .map((line) => withoutEscapes(line.split(" ")[4] ?? ""));
  const mounted = points.find((point) => images.some((image) => point.startsWith(`${image}/`)));
  return mounted && `${mounted} is mounted inside of the image, which no user may take apart: unmount it`;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Blanks and backslashes are written in octal (proc_pid_mountinfo(5)). */
function withoutEscapes(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
