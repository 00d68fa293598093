/**
 * The sockets of consoles: for each lease whose server has one, `LEASE` in a folder beside the control socket. The
 * launcher gets the listening socket, and the keeper of the console answers there (native/launch/console.h). The broker
 * keeps only the path: so a console needs no broker, and ends with its server.
 *
 * The kernel checks who may connect, by the owner of the path: who has the lease, who may also end the server
 * (test/cli/console.test.ts).
 */
import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { BerthError, check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
import type { Native } from "../../native.ts";
import { AF_UNIX, encodeSockaddr, UNIX_PATH_MAX } from "../../net/address.ts";
import { consoleFolder } from "../../net/socket-path.ts";
import { SOCK_STREAM } from "../../net/transport.ts";
import { setPathAccess } from "./unix-path.ts";

const BACKLOG = 16;

export class ConsoleSockets {
  readonly #folder: string;
  readonly #sys: Native;
  /** The leases that have a path. */
  readonly #leases: Set<string>;

  /** Finds the paths of an earlier broker. */
  constructor(controlPath: string, sys: Native) {
    this.#folder = consoleFolder(controlPath);
    this.#sys = sys;
    this.#leases = new Set(namesIn(this.#folder));
  }

  /** A new listening socket. This user can reach it, besides root and the broker's user. Throws {@link BerthError}. */
  open(lease: string, uid: number): FdHandle {
    const path = join(this.#folder, lease);
    if (path.startsWith("@") || Buffer.byteLength(path) > UNIX_PATH_MAX) {
      const message = `cannot open a console at ${path}: it must be a path of at most ${UNIX_PATH_MAX} bytes; start berthd with another --socket, or remove server.console`;
      throw new BerthError("SYSTEM_ERROR", message);
    }
    makeFolders(this.#folder, 0o711);
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

  /** Removes the paths of leases that are no more. */
  retain(isHeld: (lease: string) => boolean): void {
    for (const lease of this.#leases) if (!isHeld(lease)) this.#remove(lease);
  }

  #remove(lease: string): void {
    if (!this.#leases.delete(lease)) return;
    try {
      unlinkSync(join(this.#folder, lease));
    } catch {
      // It is gone. A stale path does no harm: nobody listens there.
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // there has been no console yet
  }
}
