/**
 * One client's connection: who it is, what it is in the middle of, and what it has been granted. Each message goes
 * through decode, validate, authorise, act, reply; a client that breaks the protocol ends this session and no other.
 */
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { type Answer, discard, type Later, type Service } from "../../varlink/service.ts";
import { Wire } from "../../wire.ts";
import type { Peer } from "../access/peer.ts";
import type { Berth } from "../berths/berth.ts";
import type { Lease } from "../berths/lease.ts";
import type { Requester } from "../berths/request.ts";

/** What a session was granted before, and would be granted again: valid while the berth's generation is the same. */
export interface Grant {
  readonly berth: Berth;
  readonly generation: number;
  readonly answer: Answer;
}

export interface SessionOptions {
  readonly service: Service<Session>;
  readonly privileged: boolean;
  readonly sys: Native;
  readonly log: Log;
  readonly deadline: number;
}

/** Bytes of events that may wait for a watcher that does not read; then it is dropped. */
const MAX_QUEUE = 8 * 1024 * 1024;
/** Bytes of a request: a command line and its environment. */
const MAX_REQUEST = 1024 * 1024;
/** Descriptors held for a request that has only begun to arrive: no method takes more (Stash). */
const MAX_FDS_AHEAD = 1;

export class Session implements Requester {
  readonly peer: Peer;
  readonly privileged: boolean;
  /** Grants by berth name, so that a tenant that asks again is answered without deciding again. */
  readonly grants: Map<string, Grant> = new Map();
  /** Set while this session watches: its connection then carries nothing but events. */
  watching = false;
  /** When it last sent a message, on the clock of performance.now(): who has been idle longest. */
  lastActive: number = performance.now();
  readonly #wire: Wire;
  readonly #options: SessionOptions;
  /** Set while a call of this connection is being carried out; what came after it is kept here until then. */
  #waiting = false;
  /** While set, nothing of this connection is read or carried out. */
  #isPaused = false;
  readonly #kept: { readonly bytes: Buffer; readonly fds: readonly FdHandle[] }[] = [];
  readonly #closers: (() => void)[] = [];
  /** The lease that this very process was found to hold. */
  #confirmed: Lease | undefined;

  /** Takes ownership of the connection. */
  constructor(handle: FdHandle, peer: Peer, options: SessionOptions) {
    this.peer = peer;
    this.privileged = options.privileged;
    this.#options = options;
    const { sys, deadline } = options;
    this.#wire = new Wire(handle, this, {
      framing: "nul",
      maxMessage: MAX_REQUEST,
      maxFdsAhead: MAX_FDS_AHEAD,
      maxQueue: MAX_QUEUE,
      deadline,
      sys,
    });
  }

  get closed(): boolean {
    return this.#wire.closed;
  }

  /** In the middle of nothing: dropping it costs its client no more than a new connection. */
  get idle(): boolean {
    return !this.watching && !this.#waiting && !this.#wire.receiving && !this.#wire.queued;
  }

  /**
   * Whether the process at the other end holds the lease. Two processes that live at the same time and have the same
   * pid are the same; so both are looked at once, and remembered as long as the lease lasts.
   */
  holds(lease: Lease): boolean {
    if (lease.ended || lease.tenant.pid !== this.peer.pid) return false;
    if (this.#confirmed === lease) return true;
    if (!this.peer.alive) return false;
    this.#confirmed = lease;
    return true;
  }

  onMessage(bytes: Buffer, length: number, fds: readonly FdHandle[]): void {
    // Of one read, that had several messages in it: none is read while one is waited for.
    if (this.#waiting || this.#isPaused) {
      this.#kept.push({ bytes: Buffer.from(bytes.subarray(0, length)), fds });
      return;
    }
    if (this.watching) {
      closeAll(fds);
      return this.#drop(new BerthError("PROTOCOL_ERROR", "a connection that watches takes no further call"));
    }
    this.lastActive = performance.now();
    const { answer, fatal } = this.#options.service.dispatch(this, bytes, length, fds);
    if (typeof answer === "function") this.#wait(answer);
    else if (answer !== undefined) this.send(answer);
    if (fatal) {
      this.#options.log(
        "notice",
        `pid ${this.peer.pid} (uid ${this.peer.uid}) does not speak the protocol: connection closed`,
        {
          event: "protocol-error",
          pid: this.peer.pid,
          uid: this.peer.uid,
        },
      );
      this.#wire.end();
    }
  }

  /** Sends an answer; a client that does not read what was sent before is not read from either, and finally dropped. */
  send(answer: Answer): void {
    const sent = this.#wire.send(answer.bytes, answer.borrowed);
    if (answer.owned !== undefined) closeAll(answer.owned);
    // A wire that failed says why by itself.
    if (!sent && !this.#wire.ending)
      return this.#drop(new BerthError("CONNECTION_CLOSED", "it does not read its replies"));
    if (this.#wire.queued) this.#wire.setReading(false);
  }

  onDrained(): void {
    this.#read();
  }

  onClosed(cause: BerthError | undefined): void {
    this.#forgetKept();
    if (cause !== undefined) this.#report(cause);
    this.#tellClosed();
  }

  /** Calls `hear` once: when the connection is closed, by either side, or now if it is closed already. */
  onceClosed(hear: () => void): void {
    if (this.closed) hear();
    else this.#closers.push(hear);
  }

  /** Reads nothing and carries nothing out until {@link resume}. */
  pause(): void {
    this.#isPaused = true;
    this.#wire.setReading(false);
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#goOn();
  }

  /** Sends a last answer and closes. */
  endWith(answer: Answer): void {
    this.send(answer);
    this.#wire.end();
  }

  /** Closes the connection; its leases, tied to the process, stay. */
  close(): void {
    if (this.#wire.closed) return;
    this.#wire.close();
    this.#forgetKept();
    this.#tellClosed();
  }

  /** Carries out nothing of this connection, and reads nothing of it, until the answer has come. */
  #wait(later: Later): void {
    this.#waiting = true;
    this.#wire.setReading(false);
    later((answer) => {
      this.#waiting = false;
      if (this.closed) return discard(answer);
      if (answer !== undefined) this.send(answer);
      this.#goOn();
    });
  }

  /** Carries out what has come meanwhile, and reads on. */
  #goOn(): void {
    while (!this.#waiting && !this.#isPaused && !this.closed) {
      const next = this.#kept.shift();
      if (next === undefined) return this.#read();
      this.onMessage(next.bytes, next.bytes.length, next.fds);
    }
  }

  #read(): void {
    this.#wire.setReading(!this.#waiting && !this.#isPaused && !this.#wire.queued);
  }

  #tellClosed(): void {
    for (const hear of this.#closers.splice(0)) hear();
  }

  #forgetKept(): void {
    for (const { fds } of this.#kept.splice(0)) closeAll(fds);
  }

  #drop(cause: BerthError): void {
    if (this.#wire.closed) return;
    this.#report(cause);
    this.close();
  }

  #report(cause: BerthError): void {
    this.#options.log("notice", `connection of pid ${this.peer.pid} (uid ${this.peer.uid}) dropped: ${cause.message}`, {
      event: "dropped",
      pid: this.peer.pid,
      uid: this.peer.uid,
      code: cause.code,
    });
  }
}
