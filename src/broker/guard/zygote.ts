/**
 * The process that forks guard workers and the keeper. It is small, so a fork is cheap, and it starts before anybody
 * can use up processes or memory. It touches no descriptor but channels to those that it forks.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { FdHandle } from "../../fd.ts";
import { programPath } from "../../launcher-path.ts";
import { type Native, type Poll, READABLE, RECEIVED_LENGTH } from "../../native.ts";
import { socketPair } from "../../net/socket-queries.ts";
import { encodeWords, FORK } from "./protocol.ts";

/** Called with the pid and a pidfd of the worker, or with the errno of fork(2). Called once, unless the zygote ends. */
export type OnForked = (result: { readonly pid: number; readonly pidfd: FdHandle | undefined } | number) => void;

/** What it forks. The second keeps CAP_NET_ADMIN and CAP_NET_RAW. */
export type Role = "worker" | "net-admin worker" | "keeper";

const ROLES: Readonly<Record<Role, number>> = { worker: 0, "net-admin worker": 1, keeper: 2 };

const { EAGAIN, ESRCH } = constants.errno;

export class Zygote implements Disposable {
  readonly #sys: Native;
  readonly #channel: FdHandle;
  readonly #poll: Poll;
  readonly #waiting = new Map<number, OnForked>();
  #lastId = 0;

  private constructor(channel: FdHandle, sys: Native) {
    this.#sys = sys;
    this.#channel = channel;
    this.#poll = new sys.Poll(channel.fd, () => this.#read());
    this.#poll.start(READABLE);
    this.#poll.unref();
  }

  /** Throws LAUNCHER_MISSING, and SYSTEM_ERROR when there is no process or descriptor left for it. */
  static start(sys: Native): Zygote {
    const path = programPath("berth-guard");
    const [ours, theirs] = socketPair("seqpacket", sys);
    using channel = theirs;
    try {
      // The guard waits in its calls; the event loop must not (socket(7), O_NONBLOCK is the open file's).
      sys.setfl(channel.fd, 0);
      const child = spawn(path, [], {
        // A session of its own: a Ctrl-C on the broker's terminal is not for it.
        detached: true,
        stdio: ["ignore", "ignore", "inherit", channel.fd],
        env: {},
        cwd: "/",
      });
      child.on("error", () => undefined); // the channel's end tells
      child.unref();
    } catch (error) {
      ours.close();
      throw error;
    }
    return new Zygote(ours, sys);
  }

  get ended(): boolean {
    return !this.#channel.open;
  }

  /** Forks one that serves on `channel`, which is borrowed. False when the zygote has ended or does not answer. */
  fork(channel: number, role: Role, onForked: OnForked): boolean {
    if (this.ended) return false;
    this.#lastId = (this.#lastId + 1) | 0;
    const request = encodeWords(FORK, this.#lastId, ROLES[role]);
    const sent = this.#sys.sendmsg(this.#channel.fd, request, 0, Int32Array.of(channel), 1);
    if (sent < 0) return false;
    this.#waiting.set(this.#lastId, onForked);
    return true;
  }

  close(): void {
    if (this.ended) return;
    this.#poll.close();
    this.#channel.close();
    for (const tell of this.#waiting.values()) tell(ESRCH);
    this.#waiting.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #read(): void {
    const buffer = Buffer.alloc(2 * Int32Array.BYTES_PER_ELEMENT);
    const received = new Int32Array(RECEIVED_LENGTH);
    const size = this.#sys.recvmsg(this.#channel.fd, buffer, 0, received);
    if (size === -EAGAIN) return;
    if (size <= 0) return this.close();
    const [count = 0, , number = -1] = received;
    const pidfd = count > 0 ? FdHandle.adopt(number, this.#sys) : undefined;
    const id = buffer.readInt32LE(0);
    const pid = buffer.readInt32LE(4);
    const tell = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (tell === undefined) pidfd?.close();
    else tell(pid < 0 ? -pid : { pid, pidfd });
  }
}
