/**
 * One client's connection. Each message goes through five steps: decode and validate (varlink/service.ts), authorise
 * and act (methods.ts, berths.ts), reply (here). A descriptor that no step took is closed.
 * A client that breaks the protocol loses its own connection; other sessions are not affected.
 */
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { CallDecoder } from "../../varlink/call-decoder.ts";
import { type Answer, closeOwned, type Later, type Service } from "../../varlink/service.ts";
import { Wire } from "../../wire.ts";
import type { Budget } from "../access/limits/budgets.ts";
import { type CallLimits, SMALL_CALL } from "../access/limits/limits.ts";
import type { Peer } from "../access/peer.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Requester } from "../berths/request.ts";
import type { BrokerCounts } from "../counts/broker-counts.ts";
import type { PeerGate } from "./peer-gate.ts";

/** An answer to Acquire that can be sent again, as long as the berth's generation stays the same. */
export interface Grant {
  readonly berth: Berth;
  readonly generation: number;
  readonly answer: Answer;
}

export interface SessionOptions {
  readonly service: Service<Session>;
  /** The uid whose limits the peer shares: see owners.ts. */
  readonly account: number;
  readonly privileged: boolean;
  readonly sys: Native;
  readonly log: Log;
  readonly deadline: number;
  readonly budget: Budget;
  /** How large calls of this peer may be. Asked once, when a call is larger than SMALL_CALL. */
  readonly callLimits: (session: Session) => CallLimits;
  /** Receives the descriptors that the peer may send. */
  readonly gate: PeerGate;
  readonly counts: Pick<BrokerCounts, "refused">;
}

/** A message that waits for the answer to the one before it. */
interface KeptMessage {
  readonly bytes: Buffer;
  readonly fds: readonly FdHandle[];
  readonly refused: readonly string[] | undefined;
}

/** Bytes of unread events before a watcher is disconnected. */
const MAX_QUEUE = 8 * 1024 * 1024;
/** Descriptors kept for a request that has not fully arrived. No method takes more than one. */
const MAX_FDS_AHEAD = 1;

/** Messages and connections so far. It orders them at less cost than a clock. */
let activity = 0;

export class Session implements Requester {
  readonly peer: Peer;
  readonly account: number;
  readonly privileged: boolean;
  /** By berth name. A tenant that calls Acquire again gets this answer without a new decision. */
  readonly grants: Map<string, Grant> = new Map();
  /** Set once Watch was called: from then on, the connection carries only events. */
  watching = false;
  /** Grows from message to message, and from session to session: the least is of the client silent for longest. */
  lastActive: number = ++activity;
  readonly #wire: Wire;
  readonly #options: SessionOptions;
  readonly #decoder: CallDecoder = new CallDecoder({ values: SMALL_CALL.values, raise: () => this.#callLimits.values });
  #knownLimits: CallLimits | undefined;
  /** Set while a call waits for its answer. Later messages stay in `#kept` until then. */
  #waiting = false;
  /** While set, this connection is not read and its calls are not handled. */
  #isPaused = false;
  readonly #kept: KeptMessage[] = [];
  readonly #closers: (() => void)[] = [];
  /** Most connections never have one: an array for each would cost time. */
  #drainers: (() => void)[] | undefined;
  /** Set once a log line says why the connection ends: it gets no second one. */
  #isReported = false;
  /** The lease that this process is known to hold. */
  #confirmed: Lease | undefined;

  /** Takes ownership of the connection. */
  constructor(handle: FdHandle, peer: Peer, options: SessionOptions) {
    this.peer = peer;
    this.account = options.account;
    this.privileged = options.privileged;
    this.#options = options;
    const { sys, deadline, budget } = options;
    this.#wire = new Wire(handle, this, {
      framing: "nul",
      maxMessage: SMALL_CALL.bytes,
      maxFdsAhead: MAX_FDS_AHEAD,
      maxQueue: MAX_QUEUE,
      deadline,
      sys,
      turn: budget.turn,
      incomplete: budget.incomplete,
      unread: budget.unread,
      gate: options.gate,
    });
  }

  /** Lets the peer send descriptors: it is privileged, or has a lease. */
  letDescriptorsIn(): void {
    if (!this.closed) this.#options.gate.open(this.#wire.fd);
  }

  get closed(): boolean {
    return this.#wire.closed;
  }

  /** No call, message or event is under way. If the connection is closed now, the client loses nothing else. */
  get idle(): boolean {
    return !this.watching && !this.#waiting && !this.#wire.receiving && !this.#wire.queued;
  }

  /**
   * Whether the client's process holds the lease. Same pid and both alive means the same process. A positive result is
   * remembered for as long as the lease lasts.
   */
  holds(lease: Lease): boolean {
    if (lease.ended || lease.tenant.pid !== this.peer.pid) return false;
    if (this.#confirmed === lease) return true;
    if (!this.peer.alive) return false;
    this.confirm(lease);
    return true;
  }

  /** The client's process holds the lease: it was just granted. */
  confirm(lease: Lease): void {
    this.#confirmed = lease;
  }

  onMessage(bytes: Buffer, length: number, fds: readonly FdHandle[], refused?: readonly string[]): void {
    // One read can bring several messages. Keep them until the call before them is answered.
    if (this.#waiting || this.#isPaused) {
      this.#kept.push({ bytes: Buffer.from(bytes.subarray(0, length)), fds, refused });
      return;
    }
    if (this.watching) {
      closeAll(fds);
      return this.#drop(new BerthError("PROTOCOL_ERROR", "a connection that called Watch accepts no further call"));
    }
    this.lastActive = ++activity;
    const { answer, fatal } = this.#options.service.dispatch(this, bytes, length, fds, this.#decoder, refused);
    if (typeof answer === "function") this.#wait(answer);
    else if (answer !== undefined) this.send(answer);
    if (fatal) {
      this.#isReported = true;
      this.#options.log(
        "notice",
        `pid ${this.peer.pid} (uid ${this.peer.uid}) sent an invalid message: connection closed`,
        {
          event: "protocol-error",
          pid: this.peer.pid,
          uid: this.peer.uid,
        },
      );
      this.#wire.end();
    }
  }

  /**
   * Sends an answer. A client that does not read its answers is not read from; when the queue is full, it is dropped.
   */
  send(answer: Answer): void {
    if (answer.error !== undefined) this.#options.counts.refused(answer.error);
    const sent = this.#wire.send(answer.bytes, answer.borrowed);
    if (answer.owned !== undefined) closeAll(answer.owned);
    // A failed wire reports its own error.
    if (!sent && !this.#wire.ending)
      return this.#drop(new BerthError("CONNECTION_CLOSED", "the client does not read its replies"));
    if (this.#wire.queued) this.#wire.setReading(false);
  }

  onLargeMessage(): number {
    return this.#callLimits.bytes;
  }

  onDrained(): void {
    this.#tellDrained();
    this.#read();
  }

  onClosed(cause: BerthError | undefined): void {
    this.#forgetKept();
    if (cause !== undefined) this.#report(cause);
    this.#tellClosed();
  }

  /** Calls `hear` once, when either side closes the connection; at once if it is closed already. */
  onceClosed(hear: () => void): void {
    if (this.closed) hear();
    else this.#closers.push(hear);
  }

  /**
   * Calls `hear` once, when all that was sent has left this process or the connection is closed; at once if that is so
   * now. Who sends many replies waits for it after each, so that a client that does not read holds up only itself.
   */
  onceDrained(hear: () => void): void {
    if (this.closed || !this.#wire.queued) hear();
    else if (this.#drainers === undefined) this.#drainers = [hear];
    else this.#drainers.push(hear);
  }

  /** Stops reading and handling calls until {@link resume}. */
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

  /** Closes the connection. Leases belong to the process, so they stay. */
  close(): void {
    if (this.#wire.closed) return;
    this.#wire.close();
    this.#forgetKept();
    this.#tellClosed();
  }

  /** Stops reading and handling calls until the answer is there. */
  #wait(later: Later): void {
    this.#waiting = true;
    this.#wire.setReading(false);
    later((answer) => {
      this.#waiting = false;
      if (this.closed) return closeOwned(answer);
      if (answer !== undefined) this.send(answer);
      this.#goOn();
    });
  }

  /** Handles the messages that were kept, then reads on. */
  #goOn(): void {
    while (!this.#waiting && !this.#isPaused && !this.closed) {
      const next = this.#kept.shift();
      if (next === undefined) return this.#read();
      this.onMessage(next.bytes, next.bytes.length, next.fds, next.refused);
    }
  }

  #read(): void {
    this.#wire.setReading(!this.#waiting && !this.#isPaused && !this.#wire.queued);
  }

  get #callLimits(): CallLimits {
    this.#knownLimits ??= this.#options.callLimits(this);
    return this.#knownLimits;
  }

  #tellDrained(): void {
    const hearers = this.#drainers;
    this.#drainers = undefined;
    for (const hear of hearers ?? []) hear();
  }

  #tellClosed(): void {
    for (const hear of this.#closers.splice(0)) hear();
    this.#tellDrained();
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
    if (this.#isReported) return;
    this.#isReported = true;
    this.#options.log("notice", `connection of pid ${this.peer.pid} (uid ${this.peer.uid}) dropped: ${cause.message}`, {
      event: "dropped",
      pid: this.peer.pid,
      uid: this.peer.uid,
      code: cause.code,
    });
  }
}
