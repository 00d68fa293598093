/**
 * The socket for sd_notify(3) messages of servers without systemd. The plan of a launch tells servers its address. Any
 * process may send to it; the kernel says which one did. Messages of processes that are neither a tenant nor its
 * descendant are ignored (test/broker/notify/notify-socket.test.ts).
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { check } from "../../errors.ts";
import { adoptReceived, closeAll, FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import { MAX_FDS, MSG_TRUNC, type Native, type Poll, READABLE, RECEIVED_LENGTH } from "../../native.ts";
import { formatAddress } from "../../net/address.ts";
import { POLLIN, SO_PASSCRED, SO_PASSPIDFD, SOL_SOCKET } from "../../net/socket-constants.ts";
import { readTenantMessage, type TenantMessage } from "../../systemd/tenant-message.ts";
import type { Tenancy } from "../berths/leases.ts";
import type { Guard } from "../guard/guard.ts";
import { refusedOf } from "../guard/protocol.ts";
import { openBrokerSocket } from "../sockets/control/broker-socket.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { PassedSocket } from "../sockets/passed-socket.ts";

export interface NotifySocketOptions {
  readonly sys: Native;
  /** Receives messages that carry descriptors. */
  readonly guard: Guard;
  readonly log: Log;
  /** Passed sockets. A predecessor's notify socket among them is used. */
  readonly offered?: readonly PassedSocket[];
  /** The first of these processes that is a tenant. */
  readonly tenantAmong: (pids: readonly number[]) => Tenancy | undefined;
  /** Called with each tenant's message. Descriptors that nobody takes are closed afterwards. */
  readonly onMessage: (
    tenancy: Tenancy,
    message: TenantMessage,
    fds: readonly FdHandle[],
    refused: readonly string[],
  ) => void;
}

/** A message, and who sent it as the kernel says. */
interface NotifyMessage {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly pid: number;
  readonly pidfd: FdHandle | undefined;
  readonly fds: readonly FdHandle[];
  /** Why other descriptors that came were not let through. */
  readonly refused: readonly string[];
}

const { EMSGSIZE } = constants.errno;

/** The same as systemd's NOTIFY_BUFFER_MAX. */
const MAX_MESSAGE = 4096;
/** Messages read in a row, and the pause after them in milliseconds: a flood must not occupy the broker. */
const BATCH = 32;
const PAUSE_MS = 10;
/** How many generations below its tenant a sender may be. */
const MAX_DEPTH = 8;
/** Milliseconds between two log lines about ignored messages. */
const COMPLAINT_INTERVAL_MS = 10_000;

export class NotifySocket {
  /** The value of NOTIFY_SOCKET. */
  readonly address: string;
  readonly #socket: HeldSocket;
  readonly #options: NotifySocketOptions;
  readonly #poll: Poll;
  /** Whether the kernel passes a pidfd of the sender, and not only its number (Linux 6.5). */
  readonly #hasPidfds: boolean;
  readonly #buffer = new Uint8Array(MAX_MESSAGE);
  readonly #received = new Int32Array(RECEIVED_LENGTH);
  readonly #sender = new Int32Array(4);
  #pause: NodeJS.Timeout | undefined;
  #complaint: NodeJS.Timeout | undefined;
  #ignored = 0;
  #isPaused = false;
  #isClosed = false;

  private constructor(socket: HeldSocket, options: NotifySocketOptions) {
    const { sys } = options;
    this.address = formatAddress(socket.address);
    this.#socket = socket;
    this.#options = options;
    check("setsockopt SO_PASSCRED", sys.setsockopt(socket.fd, SOL_SOCKET, SO_PASSCRED, 1));
    this.#hasPidfds = sys.setsockopt(socket.fd, SOL_SOCKET, SO_PASSPIDFD, 1) >= 0;
    this.#poll = new sys.Poll(socket.fd, () => this.#read());
    check("poll", this.#poll.start(READABLE));
  }

  /** Opens it at a path, or for a name with `@` at an abstract address. Throws SYSTEM_ERROR. */
  static open(path: string, options: NotifySocketOptions): NotifySocket {
    const abstract = path.startsWith("@");
    const address = { family: "unix", path: abstract ? path.slice(1) : path, abstract } as const;
    const held = { backlog: 0, mode: 0o666, v6only: true };
    const socket = openBrokerSocket(
      { kind: "datagram", address, dualStack: false },
      held,
      options.offered ?? [],
      options.sys,
    );
    try {
      return new NotifySocket(socket, options);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** The socket, for those that store it or hand it over. */
  get socket(): HeldSocket {
    return this.#socket;
  }

  /** Reads nothing until {@link resume}. Messages wait in the socket. */
  pause(): void {
    this.#isPaused = true;
    clearTimeout(this.#pause);
    this.#poll.start(0);
  }

  resume(): void {
    this.#isPaused = false;
    this.#watch();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#pause);
    clearTimeout(this.#complaint);
    this.#poll.close();
    this.#socket.retire();
  }

  #read(): void {
    for (let work = 0; work < BATCH; work++) {
      const next = this.#hasDescriptors();
      if (next === undefined) return;
      if (next) return this.#readGuarded();
      if (!this.#readOne()) return;
    }
    this.#poll.start(0);
    this.#pause = setTimeout(() => this.#watch(), PAUSE_MS);
  }

  #watch(): void {
    if (!this.#isPaused && !this.#isClosed) this.#poll.start(READABLE);
  }

  /** Whether the next message carries descriptors; undefined when there is none. A pidfd of its sender would be one. */
  #hasDescriptors(): boolean | undefined {
    const { sys } = this.#options;
    const { fd } = this.#socket;
    if (this.#hasPidfds) sys.setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, 0);
    const result = sys.peeksender(fd, this.#sender);
    if (this.#hasPidfds) sys.setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, 1);
    return result < 0 ? undefined : result === 1;
  }

  /** Reads a message without descriptors; false when there is none. */
  #readOne(): boolean {
    const { sys } = this.#options;
    const size = sys.recvcred(this.#socket.fd, this.#buffer, 0, this.#received, this.#sender);
    if (size === -EMSGSIZE) this.#ignore();
    if (size < 0) return size === -EMSGSIZE;
    const [, flags = 0] = this.#received;
    const fds = adoptReceived(this.#received, sys);
    const [pid = 0, , , number = -1] = this.#sender;
    using pidfd = number < 0 ? undefined : FdHandle.adopt(number, sys);
    this.#deliver({ flags, pid, pidfd, fds, refused: [], bytes: this.#buffer.subarray(0, size) });
    return true;
  }

  /**
   * Has a guard process read a message with descriptors. Those of a stranger are not received, nor those of a tenant
   * that has made too many such processes wait.
   */
  #readGuarded(): void {
    const { guard, tenantAmong } = this.#options;
    const { fd } = this.#socket;
    this.#poll.start(0);
    const uid = tenantAmong(ancestry(this.#sender[0] ?? 0))?.lease.tenant.uid;
    const reading =
      uid === undefined || !guard.trusts(uid)
        ? guard.receive("stranger", fd, "bytes", 0)
        : guard.receive(uid, fd, "datagram", MAX_FDS);
    void reading.then((message) => {
      // Without a guard the broker reads it, and a thread closes its descriptors.
      if (message === undefined) {
        if (!this.#isClosed) this.#readOne();
      } else if (message.size >= 0) {
        const flags = message.size > MAX_MESSAGE ? MSG_TRUNC : 0;
        this.#deliver({ ...message, flags, refused: refusedOf(message) });
      }
      message?.pidfd?.close();
      this.#watch();
    });
  }

  #deliver({ flags, pid, pidfd, fds, refused, bytes }: NotifyMessage): void {
    try {
      const tenant = (flags & MSG_TRUNC) !== 0 || this.#isClosed ? undefined : this.#tenantOf(pid, pidfd);
      if (tenant === undefined) this.#ignore();
      else this.#options.onMessage(tenant, readTenantMessage(bytes), fds, refused);
    } finally {
      closeAll(fds);
    }
  }

  /** The tenant that sent a message, or whose descendant did. */
  #tenantOf(pid: number, pidfd: FdHandle | undefined): Tenancy | undefined {
    if (pid === 0 || (this.#hasPidfds && pidfd === undefined)) return undefined;
    const line = ancestry(pid);
    const found = this.#options.tenantAmong(line);
    if (found === undefined || pidfd === undefined) return found;
    if (found.lease.tenant.pid === pid) return found.lease.isOf(pidfd.fd) ? found : undefined;
    // Another process may have that number by now. Its ancestors are the sender's only if the sender still lives.
    return this.#options.sys.pollNow(pidfd.fd, POLLIN) === 0 ? found : undefined;
  }

  #ignore(): void {
    this.#ignored++;
    this.#complaint ??= setTimeout(() => {
      this.#complaint = undefined;
      this.#options.log(
        "notice",
        `ignored ${this.#ignored} messages to ${this.address}: the senders are not tenants, or the messages are too long`,
        {
          event: "notify-ignored",
          messages: this.#ignored,
        },
      );
      this.#ignored = 0;
    }, COMPLAINT_INTERVAL_MS);
  }
}

/** A process and its ancestors, up to the limit. */
function ancestry(pid: number): number[] {
  const line: number[] = [];
  for (let at = pid; at > 1 && line.length < MAX_DEPTH; at = parentOf(at)) line.push(at);
  return line;
}

/** proc_pid_stat(5): after the name in parentheses, which may have any character, the state and the parent. */
function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0; // it has exited
  }
}
