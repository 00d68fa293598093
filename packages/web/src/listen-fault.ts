/** Why berth-web cannot listen at an address or path, and what to do about it. */
import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname } from "node:path";
import { Fault } from "./fault.ts";

/** The longest path of a UNIX socket, in bytes (unix(7)). Older versions of Node cut off what is longer. */
const MAX_PATH_BYTES = 107;

export function listenFault(
  at: { readonly host?: string; readonly port?: number; readonly path?: string },
  error: NodeJS.ErrnoException,
): Fault {
  if (at.path !== undefined) return new Fault("LISTEN_FAILED", `unix:${at.path}: ${pathTrouble(at.path, error)}`);
  const { host, port } = at;
  if (host === undefined || port === undefined)
    return new Fault("LISTEN_FAILED", `the passed socket: ${error.message}`);
  return new Fault("LISTEN_FAILED", addressTrouble(host, port, error));
}

function addressTrouble(host: string, port: number, { code, message }: NodeJS.ErrnoException): string {
  const shown = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  switch (code) {
    case "EADDRINUSE":
      return `another program uses ${shown} (${code}); see which: ss -ltnp 'sport = :${port}'; or give another port with --listen`;
    case "EACCES":
      return `user ${userInfo().username} may not use port ${port} of ${host} (${code}); give a port above 1023 with --listen`;
    case "EADDRNOTAVAIL":
      return `this host has no address ${host} (${code}); see which it has: ip -brief address`;
    default:
      return `${shown}: ${message}`;
  }
}

/** Why a UNIX socket cannot be made at a path. Node says EACCES also where there is no folder. */
export function pathTrouble(path: string, { code, message }: NodeJS.ErrnoException): string {
  const folder = dirname(path);
  if (isTooLong(path)) return tooLong;
  if (!existsSync(folder)) return `there is no folder ${folder}; make it: mkdir -p ${folder}`;
  if (code === "EACCES") return `user ${userInfo().username} may not write to the folder ${folder} (${code})`;
  if (code !== "EADDRINUSE") return message;
  return `another program listens there, or one that was killed has left it (${code}); in the second case: rm ${path}`;
}

export const tooLong: string = `the path is longer than the ${MAX_PATH_BYTES} bytes of a UNIX socket`;

export function isTooLong(path: string): boolean {
  return Buffer.byteLength(path) > MAX_PATH_BYTES;
}
