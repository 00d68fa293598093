/** The default folders of configuration and state. Pure: it reads nothing. */
import { homedir } from "node:os";
import { join } from "node:path";

/**
 * The configuration's folders in rising precedence. For root: `/usr/lib/berthd`, `/etc/berthd`. For other users:
 * `$XDG_CONFIG_HOME/berthd`; a relative path counts as unset (XDG Base Directory Specification).
 */
export function defaultConfigDirectories(
  env: NodeJS.ProcessEnv = process.env,
  uid: number = process.geteuid?.() ?? 0,
): string[] {
  if (uid === 0) return ["/usr/lib/berthd", "/etc/berthd"];
  const configured = env["XDG_CONFIG_HOME"];
  const home = configured?.startsWith("/") ? configured : join(env["HOME"] || homedir(), ".config");
  return [join(home, "berthd")];
}

/**
 * The default state folder. For root: `/var/lib/berthd`. For other users: `$XDG_STATE_HOME/berthd`; a relative path
 * counts as unset (XDG Base Directory Specification).
 */
export function defaultStateDirectory(
  env: NodeJS.ProcessEnv = process.env,
  uid: number = process.geteuid?.() ?? 0,
): string {
  if (uid === 0) return "/var/lib/berthd";
  const state = env["XDG_STATE_HOME"];
  return join(state?.startsWith("/") ? state : join(env["HOME"] || homedir(), ".local/state"), "berthd");
}
