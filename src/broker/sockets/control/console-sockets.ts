/**
 * The sockets of consoles: for each lease whose server has one, `LEASE` in a folder beside the control socket. The
 * launcher gets the listening socket, and the keeper of the console answers there (native/launch/output/console.h). The
 * broker keeps only the path: so a console needs no broker, and ends with its server.
 *
 * The kernel checks who may connect, by the owner of the path: who has the lease, who may also end the server
 * (test/cli/console.test.ts).
 */
import { lstatSync, readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { BerthError, check, messageOf } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import { makeFolders } from "../../../make-folders.ts";
import type { Native } from "../../../native.ts";
import { AF_UNIX, encodeSockaddr, UNIX_PATH_MAX } from "../../../net/address.ts";
import { consoleFolder } from "../../../net/socket-path.ts";
import { SOCK_STREAM } from "../../../net/transport.ts";
import { setPathAccess } from "../unix-path.ts";

const BACKLOG = 16;
/** As broker/berths/berth/lease-id.ts makes them. */
const LEASE_ID = /^[0-9a-f]{16}$/;

export class ConsoleSockets {
  readonly #folder: string;
  readonly #sys: Native;
  /** The leases that have a path. */
  readonly #leases: Set<string>;

  /** Finds the paths of an earlier broker. */
  constructor(controlPath: string, sys: Native) {
    this.#folder = consoleFolder(controlPath);
    this.#sys = sys;
    this.#leases = new Set(leasesIn(this.#folder));
  }

  /** A new listening socket. This user can reach it, besides root and the broker's user. Throws {@link BerthError}. */
  open(lease: string, uid: number): FdHandle {
    const path = join(this.#folder, lease);
    if (path.startsWith("@") || Buffer.byteLength(path) > UNIX_PATH_MAX) {
      const message = `cannot open a console at ${path}: it must be a path of at most ${UNIX_PATH_MAX} bytes; start berthd with another --socket, or remove server.console`;
      throw new BerthError("SYSTEM_ERROR", message);
    }
    makeFolders(this.#folder, 0o711);
    const problem = problemOf(this.#folder);
    if (problem !== undefined) {
      const message = `cannot open a console in ${this.#folder}: ${problem}; remove it, or start berthd with --socket in a folder of its own`;
      throw new BerthError("SYSTEM_ERROR", message);
    }
    this.#remove(lease); // the same tenant launches a server again
    const handle = FdHandle.adopt(check("socket", this.#sys.socket(AF_UNIX, SOCK_STREAM, 0)), this.#sys);
    try {
      check("bind", this.#sys.bind(handle.fd, encodeSockaddr({ family: "unix", path, abstract: false })), path);
      this.#leases.add(lease);
      const isRoot = process.geteuid?.() === 0;
      setPathAccess(path, { mode: 0o600, backlog: BACKLOG, v6only: true, ...(isRoot && { owner: uid }) });
      check("listen", this.#sys.listen(handle.fd, BACKLOG), path);
      return handle;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /** The path for the console of a lease; undefined if it has none. */
  pathOf(lease: string): string | undefined {
    const isOurs = this.#leases.has(lease) && problemOf(this.#folder) === undefined;
    return isOurs ? join(this.#folder, lease) : undefined;
  }

  /** Removes the paths of leases that are no more. */
  retain(isHeld: (lease: string) => boolean): void {
    for (const lease of this.#leases) if (!isHeld(lease)) this.#remove(lease);
  }

  #remove(lease: string): void {
    if (!this.#leases.delete(lease) || problemOf(this.#folder) !== undefined) return;
    const path = join(this.#folder, lease);
    try {
      if (lstatSync(path).isSocket()) unlinkSync(path);
    } catch {
      // It is gone. A stale path does no harm: nobody listens there.
    }
  }
}

function leasesIn(folder: string): string[] {
  if (problemOf(folder) !== undefined) return []; // as where there has been no console yet
  return readdirSync(folder).filter((name) => LEASE_ID.test(name));
}

/**
 * Why the folder is not the broker's own. Where everybody may write, as in /tmp, somebody else may have made it first:
 * as a link to a folder whose files are to go, or to answer in place of a server.
 */
function problemOf(folder: string): string | undefined {
  try {
    const stat = lstatSync(folder);
    if (!stat.isDirectory()) return "it is no folder";
    if (stat.uid !== process.geteuid?.()) return `it is uid ${stat.uid}'s`;
    return (stat.mode & 0o022) === 0 ? undefined : "others may write to it";
  } catch (error) {
    return messageOf(error);
  }
}
