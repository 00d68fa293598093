/**
 * What a server registered in its epolls before bind(2) is registered for the held socket. And what they still have of
 * an earlier time that the server had the held socket goes, as it would have when the server closed it: here close(2)
 * removes nothing, since the broker has the socket too. All of it happens in a guard process (native/guard/epolls.cc).
 */
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { EpollReport } from "../../native-interceptor.ts";
import { decodeCarried, encodeCarry, encodeForget } from "../guard/epoll-requests.ts";
import type { Guard } from "../guard/guard.ts";
import type { NoReply } from "../guard/worker.ts";
import { knownSocketsOf } from "../sockets/holders/process-sockets.ts";
import type { Binder } from "./bind-reports.ts";
import { userOf } from "./server/server-user.ts";

const { EAGAIN, ENOBUFS, ETIMEDOUT } = constants.errno;

/** How often and when to try again where no guard process can be had: for half a second in all. */
const MAX_TRIES = 10;
const RETRY_MS = 50;
/** Places that are remembered, and numbers that are asked about at once. */
const MOST_PLACES = 256;
const MOST_NUMBERS = 1024;

const REASONS: Readonly<Record<NoReply, string>> = {
  stuck:
    "the kernel did not answer in time what an epoll of the server has registered; another thread of it locks the epoll",
  unavailable: "no guard process can be started to look at its epolls",
};
const ERRNOS: Readonly<Record<NoReply, number>> = { stuck: ETIMEDOUT, unavailable: ENOBUFS };

export interface EpollCarrierOptions {
  readonly guard: Pick<Guard, "spend">;
  /** Whether an earlier broker has served this server. */
  readonly isRestored: boolean;
  /** Logs a warning once for each key. */
  readonly note: (key: string, message: string) => void;
}

/** Where a server has or had a held socket. */
interface Place {
  readonly pid: number;
  readonly number: number;
  readonly inode: bigint;
}

export class EpollCarrier {
  readonly #options: EpollCarrierOptions;
  readonly #places: Place[] = [];
  /** Of the report that has no answer yet. */
  #tries = 0;

  constructor(options: EpollCarrierOptions) {
    this.#options = options;
  }

  /** The server is about to get this socket. Returns whether its epolls may know the socket already. */
  place({ pid, fd }: Binder, held: number): boolean {
    const inode = inodeOf(held);
    const isKnown = this.#options.isRestored || this.#places.some((place) => place.inode === inode);
    this.#remember({ pid, number: fd, inode });
    return isKnown;
  }

  /** Owns the report's epolls. Resolves with the answer to it: see Interceptor.answer. */
  async carry(report: EpollReport): Promise<number> {
    const reply = await (report.isPlaced ? this.#carryOver(report) : this.#forget(report));
    if (reply === "unavailable" && this.#tries++ < MAX_TRIES) {
      await pause(RETRY_MS);
      return EAGAIN;
    }
    this.#tries = 0;
    if (typeof reply !== "string") return 0;
    const { pid, isPlaced } = report;
    const what = isPlaced ? `pid ${pid} may hear nothing on the socket that it bound` : "a bind of its server failed";
    this.#options.note(`${isPlaced} ${reply}`, `${what}: ${REASONS[reply]}`);
    return isPlaced ? 0 : ERRNOS[reply];
  }

  #forget({ pid, held, numbers, epolls }: EpollReport): Promise<Buffer | NoReply> {
    const inode = inodeOf(held);
    const former = this.#places.filter((place) => place.pid === pid && place.inode === inode && !isThere(place));
    const stale = new Set([...former.map(({ number }) => number), ...numbers].slice(0, MOST_NUMBERS));
    const encode = (id: number): Uint8Array => encodeForget(id, [...stale]);
    return this.#options.guard.spend(userOf(pid), encode, [held], [...epolls]);
  }

  async #carryOver({ pid, socket, held, numbers, epolls }: EpollReport): Promise<Buffer | NoReply> {
    const inode = inodeOf(held);
    for (const number of numbers.subarray(0, MOST_PLACES)) this.#remember({ pid, number, inode });
    const reply = await this.#options.guard.spend(userOf(pid), encodeCarry, [held, socket], [...epolls]);
    if (typeof reply === "string") return reply;
    const { failed, error } = decodeCarried(reply);
    if (failed > 0)
      this.#options.note(
        `epoll ${error}`,
        `pid ${pid} will not hear of the socket that it bound from an epoll: epoll_ctl(2) fails with errno ${error}`,
      );
    return reply;
  }

  #remember(place: Place): void {
    const isKnown = this.#places.some(
      ({ pid, number, inode }) => pid === place.pid && number === place.number && inode === place.inode,
    );
    if (isKnown) return;
    this.#places.push(place);
    if (this.#places.length > MOST_PLACES) this.#places.shift();
  }
}

function isThere({ pid, number, inode }: Place): boolean {
  return knownSocketsOf(pid).get(number) === inode;
}

function inodeOf(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino;
}
