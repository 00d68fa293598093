/** One doorman process, and the messages to and from it. The broker believes nothing of what it says but "wake". */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import {
  decodeReport,
  encodeOrder,
  ORDER_BYTES,
  type Order,
  REPORT_BYTES,
  type Report,
} from "../../../doorman/interfaces/messages.ts";
import { check } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import { programPath } from "../../../launcher-path.ts";
import { type Native, type Poll, packageRoot, READABLE, RECEIVED_LENGTH } from "../../../native.ts";
import { POLLIN } from "../../../net/socket-constants.ts";
import { socketPair } from "../../../net/socket-queries.ts";

const { EAGAIN, EMSGSIZE, ENOBUFS, EPIPE } = constants.errno;
/** Too many descriptors are on their way to processes of this user (unix(7)). */
const ETOOMANYREFS = 109;
const { SIGKILL } = constants.signals;
const NO_FDS = new Int32Array(0);
/** Reports that are read before the event loop turns. */
const IN_A_ROW = 64;

/**
 * Small heaps: it has little to remember, and there may be one for each user. No code is made while it runs, so its
 * filter forbids executable memory.
 */
const NODE_OPTIONS = ["--jitless", "--max-old-space-size=32", "--max-semi-space-size=1", "--single-threaded-gc"];

/** Why berth-doorman did not execute Node (native/doorman/main.cc). */
const REFUSED: Readonly<Record<number, string>> = {
  111: "its capabilities or its filter of system calls could not be set",
  112: `${process.execPath} could not be executed`,
};

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** Whether an order that could not be sent can be sent later. */
export function isFull(sent: number): boolean {
  return sent === -EAGAIN || sent === -ENOBUFS || sent === -ETOOMANYREFS;
}

export interface DoormanProcessOptions {
  readonly sys: Native;
  /** Undefined: the broker's own user. */
  readonly identity: Identity | undefined;
  readonly onReport: (report: Report) => void;
  /** It has ended, or said what it must not and is being ended. Called once, and not after {@link kill}. */
  readonly onEnd: (why: string) => void;
  /** The kernel has closed all that it had. Called once. */
  readonly onGone: () => void;
}

export class DoormanProcess {
  readonly #options: DoormanProcessOptions;
  readonly #channel: FdHandle;
  readonly #poll: Poll;
  readonly #child: ChildProcess;
  /** Undefined when there is no process any more. */
  #pidfd: FdHandle | undefined;

  private constructor(channel: FdHandle, child: ChildProcess, options: DoormanProcessOptions) {
    this.#options = options;
    this.#channel = channel;
    this.#child = child;
    this.#poll = new options.sys.Poll(channel.fd, () => this.#read());
    this.#poll.start(READABLE);
    this.#poll.unref();
    child.on("error", ({ message }) => {
      this.#end(message);
      if (child.pid === undefined) this.#gone();
    });
    child.on("exit", (status, signal) => {
      this.#end(REFUSED[status ?? 0] ?? signal ?? `it ended with status ${status}`);
      this.#gone();
    });
    child.unref();
  }

  /** Throws SYSTEM_ERROR when there is no process or descriptor left for it, and LAUNCHER_MISSING. */
  static start(options: DoormanProcessOptions): DoormanProcess {
    const { sys, identity } = options;
    const program = programPath("berth-doorman");
    const [ours, theirs] = socketPair("seqpacket", sys);
    using channel = theirs;
    try {
      const ids = identity === undefined ? [] : [String(identity.uid), String(identity.gid)];
      const main = join(packageRoot, "dist/doorman/main.js");
      const child = spawn(program, [process.execPath, ...NODE_OPTIONS, main, ...ids], {
        // A session of its own: a Ctrl-C on the broker's terminal is not for it.
        detached: true,
        stdio: ["ignore", "ignore", "ignore", channel.fd],
        env: {},
        cwd: "/",
      });
      const doorman = new DoormanProcess(ours, child, options);
      // It is not reaped before the event loop turns, so the number is its own.
      const pidfd = child.pid === undefined ? -1 : sys.pidfdOpen(child.pid);
      if (pidfd >= 0) doorman.#pidfd = FdHandle.adopt(pidfd, sys);
      else if (child.pid !== undefined) {
        doorman.kill();
        check("pidfd_open", pidfd);
      }
      return doorman;
    } catch (error) {
      ours.close();
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Borrowed; undefined when it is gone. */
  get pidfd(): number | undefined {
    return this.#pidfd?.fd;
  }

  /** Sends an order with borrowed descriptors. Returns 0 or -errno; then it has none of them. */
  send(order: Order, fds: readonly number[] = []): number {
    if (!this.#channel.open) return -EPIPE;
    const bytes = encodeOrder(order);
    if (bytes.length > ORDER_BYTES) return -EMSGSIZE;
    const given = fds.length === 0 ? NO_FDS : Int32Array.from(fds);
    return Math.min(0, this.#options.sys.sendmsg(this.#channel.fd, bytes, 0, given, given.length));
  }

  /** Ends it. What it has is closed when it is gone. Idempotent. */
  kill(): void {
    if (!this.#channel.open) return;
    this.#poll.close();
    this.#channel.close();
    if (this.#pidfd === undefined) this.#child.kill("SIGKILL");
    else this.#options.sys.pidfdSignal(this.#pidfd.fd, SIGKILL);
  }

  /**
   * Waits until it is gone, for so long at most, and the event loop with it. It was killed, so this takes milliseconds,
   * unless a server holds the lock of a socket that it accepts from.
   */
  awaitEnd(milliseconds: number): void {
    if (this.#pidfd !== undefined) this.#options.sys.pollFor(this.#pidfd.fd, POLLIN, milliseconds);
  }

  #gone(): void {
    this.#pidfd?.close();
    this.#pidfd = undefined;
    this.#options.onGone();
  }

  #read(): void {
    const bytes = Buffer.alloc(REPORT_BYTES + 1);
    const received = new Int32Array(RECEIVED_LENGTH);
    for (let read = 0; read < IN_A_ROW && this.#channel.open; read++) {
      const length = this.#options.sys.recvmsg(this.#channel.fd, bytes, 0, received);
      if (length === -EAGAIN) return;
      if (length <= 0) return this.#hungUp();
      const [count = 0] = received;
      for (const fd of received.subarray(2, 2 + count)) this.#options.sys.closeForeign(fd);
      const report = decodeReport(bytes.subarray(0, length));
      if (count > 0 || report === undefined) return this.#end("it said what it must not");
      this.#options.onReport(report);
    }
  }

  /** Mostly it ends now, and its exit says why. */
  #hungUp(): void {
    this.#poll.close();
    setTimeout(() => this.#end("it closed its channel"), HUNG_UP_MS).unref();
  }

  #end(why: string): void {
    if (!this.#channel.open) return;
    this.kill();
    this.#options.onEnd(why);
  }
}

const HUNG_UP_MS = 1000;
