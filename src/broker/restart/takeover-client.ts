/**
 * The broker that runs on the socket we want, from the side of the one that takes over from it (io.berthd.Succession): it
 * gives us all it has, and goes on as if nothing had been unless we confirm. Its own side is succession.ts.
 */
import { constants } from "node:os";
import { BerthError, RefusedError, SysError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { native } from "../../native.ts";
import { POLLIN } from "../../socket-constants.ts";
import type { PassedFd } from "../../systemd/activation.ts";
import { VarlinkClient } from "../../varlink/client.ts";
import { connectUnix } from "../../varlink/connect.ts";
import { Peer } from "../access/peer.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { BROKER_NAME } from "../record/stored-name.ts";

const { ENOENT, ECONNREFUSED } = constants.errno;

/** Milliseconds to wait for all it has; as long as it waits for us. */
const PATIENCE = 30_000;
/** Milliseconds in which a process that closed its last connection is gone. */
const DYING = 10_000;

/** Until the predecessor is gone it has the thing as well: whoever fails before leaves it alone. */
export const LENT: StoredCopy = { drop: () => undefined, dropNow: () => undefined };

export class Predecessor implements Disposable {
  readonly pid: number;
  readonly #client: VarlinkClient;
  /** As it gave it to us itself: who listens on its socket as far as the kernel knows may be another by then. */
  #pidfd: FdHandle | undefined;

  private constructor(socket: FdHandle, pid: number) {
    this.pid = pid;
    this.#client = new VarlinkClient(socket);
  }

  /**
   * The broker at `path`, `@name` for an abstract one; undefined when nobody listens there. Throws BROKER_UNREACHABLE, and
   * BROKER_RUNNING where it is of a user whose word is not to be taken for what we are to hold: neither root nor ours.
   */
  static async find(path: string): Promise<Predecessor | undefined> {
    let socket: FdHandle;
    try {
      socket = await connectUnix(path);
    } catch (error) {
      const cause = error instanceof BerthError ? error.cause : undefined;
      if (cause instanceof SysError && [ENOENT, ECONNREFUSED].includes(cause.errno)) return undefined;
      throw error;
    }
    try {
      const { pid, uid } = Peer.of(socket.fd, native);
      if (uid === 0 || uid === process.geteuid?.()) return new Predecessor(socket, pid);
      throw new BerthError(
        "BROKER_RUNNING",
        `cannot take over from pid ${pid}, which serves on ${path}: it is uid ${uid}'s, and what it hands over is not believed`,
      );
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * All it has, the caller's to close, under the names of stored-name.ts. From now on it waits for {@link confirm}, or
   * for us to go. Throws BROKER_RUNNING when it gives nothing.
   */
  async takeOver(): Promise<PassedFd[]> {
    const passed: PassedFd[] = [];
    const signal = AbortSignal.timeout(PATIENCE);
    try {
      for await (const { parameters, fds } of this.#client.stream("io.berthd.Succession.TakeOver", {}, { signal })) {
        const names = Array.isArray(parameters["names"]) ? parameters["names"] : [];
        for (const [index, handle] of fds.entries()) {
          const name = String(names[index]);
          if (name !== BROKER_NAME) passed.push({ name, handle });
          else if (this.#pidfd === undefined) this.#pidfd = handle;
          else handle.close();
        }
      }
      return passed;
    } catch (error) {
      closeAll(passed.map(({ handle }) => handle));
      throw this.#running(signal.aborted ? `it did not answer within ${PATIENCE / 1000} s` : reason(error), error);
    }
  }

  /** Has it end. Throws BROKER_RUNNING when it goes on instead. */
  async confirm(): Promise<void> {
    try {
      const reply = await this.#client.call("io.berthd.Succession.Confirm");
      reply[Symbol.dispose]();
    } catch (error) {
      // It may have been killed: then there is nobody to go on but us.
      if (!this.#isGone()) throw this.#running(reason(error), error);
    }
    this.close();
  }

  /** Lets it go on, unless it was told to end. Idempotent. */
  close(): void {
    this.#client.close();
    this.#pidfd?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #isGone(): boolean {
    if (this.#pidfd === undefined) return false;
    return (native.pollFor(this.#pidfd.fd, POLLIN, DYING) & POLLIN) !== 0;
  }

  #running(why: string, cause: unknown): BerthError {
    return new BerthError("BROKER_RUNNING", `cannot take over from the broker with pid ${this.pid}: ${why}`, { cause });
  }
}

function reason(error: unknown): string {
  if (error instanceof RefusedError && error.error === "org.varlink.service.InterfaceNotFound")
    return "it is of a version that hands nothing over; stop it, and start this one";
  return error instanceof Error ? error.message : String(error);
}
