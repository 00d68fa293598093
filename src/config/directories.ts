/** Where the configuration and the state are when nobody says. Pure: it reads nothing. */
import { homedir } from "node:os";
import { join } from "node:path";

/**
 * The configuration's folders in rising precedence: `/usr/lib/berthd`, then `/etc/berthd` for root, and
 * `$XDG_CONFIG_HOME/berthd` for anybody else, where a relative path counts as unset (XDG Base Directory
 * Specification).
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
 * The state folder of a broker that was set up as usual: `/var/lib/berthd` for root, `$XDG_STATE_HOME/berthd` for
 * anybody else, where a relative path counts as unset (XDG Base Directory Specification).
 */
export function defaultStateDirectory(
  env: NodeJS.ProcessEnv = process.env,
  uid: number = process.geteuid?.() ?? 0,
): string {
  if (uid === 0) return "/var/lib/berthd";
  const state = env["XDG_STATE_HOME"];
  return join(state?.startsWith("/") ? state : join(env["HOME"] || homedir(), ".local/state"), "berthd");
}
