/**
 * The new broker's side of a takeover (io.berthd.Succession). The running broker gives everything it has. It goes on as
 * before unless the new broker confirms. The old broker's side is takeover-server.ts.
 */
import { constants } from "node:os";
import { BerthError, messageOf, RefusedError, SysError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { native } from "../../native.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import type { PassedFd } from "../../systemd/activation.ts";
import { VarlinkClient } from "../../varlink/client.ts";
import { connectUnix } from "../../varlink/connect.ts";
import { Peer } from "../access/peer.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { BROKER_NAME } from "../record/stored-name.ts";

const { ENOENT, ECONNREFUSED } = constants.errno;

/** How long to wait for everything; the old broker waits as long for the confirmation. */
const TAKE_OVER_TIMEOUT_MS = 30_000;
/** A process that closed its last connection exits within this time. */
const EXIT_TIMEOUT_MS = 10_000;

/** Marks what the predecessor also has: a new broker that fails must not remove it. */
export const LENT: StoredCopy = { drop: () => undefined, dropNow: () => undefined };

export class Predecessor implements Disposable {
  readonly pid: number;
  readonly #client: VarlinkClient;
  /** The predecessor's pidfd, which it sent itself: by now another process may have the socket's pid. */
  #pidfd: FdHandle | undefined;

  private constructor(socket: FdHandle, pid: number) {
    this.pid = pid;
    this.#client = new VarlinkClient(socket);
  }

  /**
   * The broker at `path`, `@name` for an abstract one; undefined when nothing listens there. Throws BROKER_UNREACHABLE.
   * Throws BROKER_RUNNING when it belongs to neither root nor this user: what it hands over cannot be trusted.
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
        `cannot take over from pid ${pid}, which serves on ${path}: it belongs to uid ${uid}; only root's or this user's broker is trusted`,
      );
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * Gets everything under the names of stored-name.ts; the caller owns it. The predecessor then waits for
   * {@link confirm}, or for the connection to close. Throws BROKER_RUNNING when it hands over nothing.
   */
  async takeOver(): Promise<PassedFd[]> {
    const passed: PassedFd[] = [];
    const signal = AbortSignal.timeout(TAKE_OVER_TIMEOUT_MS);
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
      throw this.#running(
        signal.aborted ? `it did not answer within ${TAKE_OVER_TIMEOUT_MS / 1000} s` : reason(error),
        error,
      );
    }
  }

  /** Tells the predecessor to end. Throws BROKER_RUNNING if it keeps serving. */
  async confirm(): Promise<void> {
    try {
      const reply = await this.#client.call("io.berthd.Succession.Confirm");
      reply[Symbol.dispose]();
    } catch (error) {
      // If it was killed, only this broker can go on.
      if (!this.#isGone()) throw this.#running(reason(error), error);
    }
    this.close();
  }

  /** Closes the connection: a predecessor that was not told to end goes on. Idempotent. */
  close(): void {
    this.#client.close();
    this.#pidfd?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #isGone(): boolean {
    if (this.#pidfd === undefined) return false;
    return (native.pollFor(this.#pidfd.fd, POLLIN, EXIT_TIMEOUT_MS) & POLLIN) !== 0;
  }

  #running(why: string, cause: unknown): BerthError {
    return new BerthError("BROKER_RUNNING", `cannot take over from the broker with pid ${this.pid}: ${why}`, { cause });
  }
}

function reason(error: unknown): string {
  if (error instanceof RefusedError && error.error === "org.varlink.service.InterfaceNotFound")
    return "its version cannot hand over; stop it, then start this one";
  return messageOf(error);
}
