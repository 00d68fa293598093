/** Where the broker's control socket is, for the broker and for everybody who looks for it. */
import { join } from "node:path";

/** The socket's name in its folder: that of the interface. */
const SOCKET_NAME = "io.berthd.Broker";

/**
 * The path where a broker of this user listens: `/run/berthd/…` for root, `$XDG_RUNTIME_DIR/berthd/…` for others,
 * unless BERTHD_SOCKET says otherwise.
 */
export function ownSocketPath(env: NodeJS.ProcessEnv = process.env, uid: number = process.geteuid?.() ?? 0): string {
  const override = env["BERTHD_SOCKET"];
  if (override !== undefined && override !== "") return override;
  if (uid === 0) return join("/run/berthd", SOCKET_NAME);
  return join(env["XDG_RUNTIME_DIR"] ?? `/run/user/${uid}`, "berthd", SOCKET_NAME);
}

/** Where a client looks, in order: a user may run a broker of its own, and else there is the host's. */
export function socketPaths(env: NodeJS.ProcessEnv = process.env, uid: number = process.geteuid?.() ?? 0): string[] {
  const own = ownSocketPath(env, uid);
  const host = join("/run/berthd", SOCKET_NAME);
  return env["BERTHD_SOCKET"] || own === host ? [own] : [own, host];
}

/** The folder of the consoles of a broker with that control socket: each has the id of its lease. */
export function consoleFolder(control: string): string {
  return `${control}.console`;
}

/** Where a broker with that control socket hears of containers. */
export function agentPath(control: string): string {
  return `${control}.agent`;
}
