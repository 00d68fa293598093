/**
 * Which of a berth's sockets keep O_NONBLOCK after a lease: those that a process of the last server still has. It
 * counts on the flag, and a thread of it would wait in accept(2) or recvfrom(2) for ever without.
 */
import type { Log } from "../../../log.ts";
import type { Native } from "../../../native.ts";
import type { HeldSocket } from "../../sockets/held-socket.ts";
import { CopySearch } from "../../sockets/holders/copies.ts";
import type { NamedSocket } from "../../sockets/named-socket.ts";
import { socketInode } from "../../sockets/passed-socket.ts";

/** O_RDWR and O_LARGEFILE: what fcntl(2) F_SETFL does not change. */
const FIXED_FLAGS = 0o2 | 0o100000;

export class StillOpen {
  readonly #sys: Native;
  readonly #log: Log;
  readonly #search: CopySearch = new CopySearch();

  constructor(sys: Native, log: Log) {
    this.#sys = sys;
    this.#log = log;
  }

  /** Whether another process may count on the socket's flags: it has some. */
  isPossible(socket: HeldSocket): boolean {
    const flags = socket.open ? this.#sys.getfl(socket.fd) : -1;
    return flags >= 0 && (flags & ~FIXED_FLAGS) !== 0;
  }

  /** `isTheirs`: whether a user is one that the berth's servers run as. */
  async among(
    berth: string,
    sockets: readonly NamedSocket[],
    isTheirs: (uid: number) => boolean,
  ): Promise<ReadonlySet<HeldSocket>> {
    const open = new Set<HeldSocket>();
    for (const { name, socket } of sockets) {
      if (!this.isPossible(socket)) continue;
      if (!(await this.#search.has(socketInode(socket.fd), isTheirs))) continue;
      open.add(socket);
      const message = `berth ${berth}: another process still has socket ${name}, so the socket keeps O_NONBLOCK; end that process`;
      this.#log("warning", message, { event: "still-open", berth, socket: name });
    }
    return open;
  }
}
