/**
 * One listening socket of a sleeping server whose logins are held: they are not accepted, so they are the server's. A
 * filter of eBPF copies what has come on connections that nobody has accepted (net/arrival-program.ts). By that, status
 * queries at the front of the queue are accepted and answered, and a login is left where it is.
 *
 * The kernel gives connections in the order in which they came, and tells how many there are. So no order is kept here:
 * those that were there a moment ago are the first ones, and all of their bytes that had come were looked at.
 */
import { constants } from "node:os";
import { check } from "../../errors.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { MOST_DATA, RECORD, RING_BYTES } from "../../net/arrival-program.ts";
import { IPPROTO_TCP, SO_ATTACH_BPF, SO_DETACH_FILTER, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketCookie } from "../../net/socket-queries.ts";
import type { Sender } from "../senders/sender.ts";
import { type Arrival, Arrivals, bytesOf, readSegment } from "./arrivals.ts";
import { Conversations, type ConversationsContext, isShutDown } from "./conversations.ts";
import { HeldLogins } from "./held-logins.ts";

const { EACCES } = constants.errno;
const TCP_INFO = 11;
/**
 * struct tcp_info: of a listening socket, tcpi_unacked is how many connections wait (tcp_get_info in net/ipv4/tcp.c).
 */
const [INFO_WORDS, WAITING] = [7, 6] as const;
/** A connection that has sent nothing within this time is silent. Clients send at once. */
const SILENT_MS = 500;
/** So long one may take that has begun to say what it wants. */
const HALF_MS = 2000;
/** How often to look whether the server accepts. */
const LOOK_MS = 200;
const [READ_IN_A_ROW, ACCEPT_IN_A_ROW] = [512, 64] as const;

export interface HeldContext extends ConversationsContext {
  readonly converse: NonNullable<ConversationsContext["converse"]>;
  /** How long a login waits for the server, in milliseconds. */
  readonly hold: number;
  /** The server accepts connections. */
  readonly onServed: () => void;
}

export class HeldSocket {
  readonly #context: HeldContext;
  readonly #fd: number;
  readonly #ring: InstanceType<Native["BpfRing"]>;
  readonly #told: Poll;
  readonly #came: Poll;
  readonly #arrivals: Arrivals;
  readonly #conversations: Conversations;
  readonly #logins: HeldLogins;
  readonly #record = Buffer.alloc(RECORD.data + MOST_DATA);
  /** How many were accepted here. */
  #taken = 0;
  /** Those that are to be looked at together: up to which one, and since when. */
  #batch: { readonly end: number; readonly since: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isWoken = false;
  #isClosed = false;

  private constructor(fd: number, ring: number, context: HeldContext) {
    const { sys } = context;
    this.#context = context;
    this.#fd = fd;
    this.#ring = new sys.BpfRing(ring, RING_BYTES);
    this.#arrivals = new Arrivals();
    this.#conversations = new Conversations(context);
    this.#logins = new HeldLogins(context.hold);
    this.#told = new sys.Poll(ring, () => this.#read(), true);
    this.#came = new sys.Poll(fd, () => this.#decide(), true);
  }

  /**
   * Undefined if the socket takes no filter, or is not one of TCP. All descriptors are borrowed, the ring's until
   * {@link close}.
   */
  static attach(fd: number, [ring, program]: readonly [number, number], context: HeldContext): HeldSocket | undefined {
    if (waitingAt(fd, context.sys) < 0) return undefined;
    const held = new HeldSocket(fd, ring, context);
    if (held.#ring.status < 0 || context.sys.setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, program) < 0) {
      held.close();
      return undefined;
    }
    check("poll", held.#told.start(READABLE));
    check("poll", held.#came.start(READABLE));
    return held;
  }

  /** The server starts, so all that comes is its own. A login that has waited too long is still told to join again. */
  wake(): void {
    this.#isWoken = true;
    this.#batch = undefined;
    clearTimeout(this.#timer);
    this.#came.start(0);
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  /** Connections that have the filter keep it: their packets pass, and are copied while there is room (ring). */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#told.close();
    this.#came.close();
    this.#ring.close();
    this.#conversations.close();
    const { sys } = this.#context;
    // One of the server's own is of classic BPF, and stays. Of eBPF the kernel tells nothing.
    if (sys.filterLength(this.#fd) === -EACCES) sys.setsockopt(this.#fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
  }

  #read(): void {
    if (!this.#isWoken) return this.#decide();
    this.#take();
    if (this.#logins.isAny) this.#timer ??= setTimeout(() => this.#look(), LOOK_MS);
  }

  /** Takes copies from the ring. */
  #take(): void {
    for (let read = 0; read < READ_IN_A_ROW; read++) {
      const length = this.#ring.read(this.#record);
      if (length < 0) return;
      const segment = readSegment(this.#record.subarray(0, length));
      const arrival = segment === undefined ? undefined : this.#arrivals.add(segment);
      if (segment !== undefined && arrival !== undefined) this.#judge(arrival, segment.sender);
    }
  }

  /** What a connection wants, once its bytes say so. */
  #judge(arrival: Arrival, sender: Sender): void {
    if (arrival.want !== undefined) return;
    // It was accepted by a server that somebody started by hand.
    if (!this.#isWoken && this.#waiting === 0) return;
    const { admission, converse } = this.#context;
    const { kind } = converse(true).feed(bytesOf(arrival));
    // A server that starts already is woken by nobody.
    const isHeld = kind === "join" && (this.#isWoken ? admission.knows(sender) : admission.admits(sender));
    if (kind !== undefined) arrival.want = isHeld ? "login" : "answer";
    if (isHeld) this.#logins.add(this.#taken + Math.max(1, this.#waiting), performance.now());
  }

  /** While the server sleeps: wakes it, or accepts what may be accepted, or waits for more. */
  #decide(): void {
    if (this.#isWoken || this.#isClosed) return;
    this.#take();
    if (this.#logins.isAny) return this.#context.onWake();
    const waiting = this.#waiting;
    if (waiting === 0) return this.#rest();
    this.#came.start(0);
    const { all } = this.#arrivals;
    if (all.filter(({ want }) => want === "answer").length >= waiting) return this.#accept(this.#taken + waiting);
    const now = performance.now();
    this.#batch ??= { end: this.#taken + waiting, since: now };
    const { end, since } = this.#batch;
    const patience = all.some(({ want }) => want === undefined) ? HALF_MS : SILENT_MS;
    if (now - since >= patience) return this.#accept(end);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#decide(), since + patience - now + 1);
  }

  /** Nothing waits, so what is known is of connections that are gone. */
  #rest(): void {
    this.#batch = undefined;
    this.#arrivals.clear();
    clearTimeout(this.#timer);
    // The broker gives a listener that was shut down anew, once it is set right.
    if (isShutDown(this.#fd, this.#context.sys)) this.#came.close();
    else this.#came.start(READABLE);
  }

  /** Accepts until so many have been. */
  #accept(end: number): void {
    clearTimeout(this.#timer);
    for (let accepted = 0; accepted < ACCEPT_IN_A_ROW && this.#taken < end; accepted++) {
      if (!this.#acceptOne()) break;
      if (this.#isWoken || this.#isClosed) return;
    }
    if (this.#taken >= end) this.#batch = undefined;
    // Others have their turn first.
    this.#timer = setTimeout(() => this.#decide(), 0);
  }

  #acceptOne(): boolean {
    const { sys } = this.#context;
    return this.#conversations.accept(this.#fd, (sender, fd) => {
      this.#taken++;
      if (sender !== undefined) this.#arrivals.accepted(sender, socketCookie(fd, sys));
    });
  }

  /** While the server starts and a login waits: whether the server accepts, and whether one has waited too long. */
  #look(): void {
    this.#timer = undefined;
    if (this.#isClosed) return;
    this.#take();
    const waiting = this.#waiting;
    const isServed = this.#logins.isServed(this.#taken + waiting);
    const due = this.#logins.due(performance.now());
    if (due <= this.#taken && !this.#logins.isAny) return;
    if (waiting === 0 || isServed) return this.#context.onServed();
    for (let accepted = 0; accepted < ACCEPT_IN_A_ROW && this.#taken < due; accepted++)
      if (!this.#acceptOne()) return this.#context.onServed();
    this.#timer = setTimeout(() => this.#look(), this.#taken < due ? 0 : LOOK_MS);
  }

  get #waiting(): number {
    return Math.max(0, waitingAt(this.#fd, this.#context.sys));
  }
}

/** How many connections wait to be accepted, or -errno: only TCP tells. */
function waitingAt(listener: number, sys: Native): number {
  const info = new Int32Array(INFO_WORDS);
  const result = sys.getsockopt(listener, IPPROTO_TCP, TCP_INFO, info);
  return result < 0 ? result : (info[WAITING] ?? 0);
}
