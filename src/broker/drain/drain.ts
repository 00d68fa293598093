/**
 * The drain of one lease: it looks from time to time whether anybody plays, and then has the server stopped, at the
 * latest at the deadline. It never looks at packets: the kernel tells when the last one came, and a doorman asks the
 * server who plays.
 */
import { isScarcity } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Inquiries } from "../demand/inquiries.ts";
import type { Stops } from "../demand/stops.ts";
import { Traffic, type TrafficOptions } from "../demand/traffic.ts";
import { bootTime } from "../record/boot-time.ts";
import type { DrainFacts } from "../record/lease-facts.ts";
import { nextMark } from "./countdown.ts";
import { type DrainLimits, drainStep, type KnownPlayers } from "./drain-step.ts";

/** When to try again to stop a server while the broker is handed over, or has no descriptor left. */
const RETRY_MS = 1000;

export interface DrainOptions extends TrafficOptions {
  readonly log: Log;
  readonly stops: Pick<Stops, "end">;
  readonly inquiries: Pick<Inquiries, "ask" | "canAsk" | "mayBeOurs">;
  readonly limits: DrainLimits;
  /** Whether this broker is being replaced: it stops nothing then. */
  readonly isPaused: () => boolean;
  /** The server cannot be stopped, so the drain is over. */
  readonly onFailed: () => void;
  /** The server is to be told again how much time is left. */
  readonly onMark: (facts: DrainFacts) => void;
}

export class Drain {
  readonly lease: Lease;
  readonly #berth: Berth;
  readonly #options: DrainOptions;
  readonly #traffic: Traffic;
  #facts: DrainFacts;
  #lastSeen: number;
  #timer: NodeJS.Timeout | undefined;
  #countdown: NodeJS.Timeout | undefined;
  #isStopping = false;
  #isLooking = false;
  #isAsking = false;
  #isClosed = false;

  constructor(berth: Berth, lease: Lease, facts: DrainFacts, options: DrainOptions) {
    this.lease = lease;
    this.#berth = berth;
    this.#options = options;
    this.#facts = facts;
    this.#traffic = new Traffic(options);
    this.#traffic.seen(berth.sockets);
    this.#lastSeen = bootTime();
    // Later: the caller must get its answer first.
    this.#timer = setTimeout(() => this.look(), 0);
    this.#count();
  }

  /** Sets another deadline. */
  change(facts: DrainFacts): void {
    this.#facts = facts;
    if (this.#isStopping) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), 0);
    this.#count();
  }

  /** Looks whether the server is to be stopped now. Call it also when other players are known. */
  look(): void {
    if (this.#isStopping || this.#isLooking) return;
    const { inquiries } = this.#options;
    this.#isLooking = true;
    this.#traffic.ready(this.#berth.sockets, () => {
      this.#isLooking = false;
      if (this.#isClosed || this.#isStopping) return;
      const isUsed = this.#traffic.seen(this.#berth.sockets, (time) => inquiries.mayBeOurs(this.lease, time));
      if (isUsed) this.#lastSeen = bootTime();
      this.#decide();
    });
  }

  /** Decides by what is known now, and again once the server has answered, if only it can say who plays. */
  #decide(): void {
    const { inquiries } = this.#options;
    const { lease } = this.#berth;
    this.#step();
    const mustAsk = lease === this.lease && lease.said === undefined && inquiries.canAsk(this.#berth);
    if (!mustAsk || this.#isStopping || this.#isAsking) return;
    this.#isAsking = true;
    inquiries.ask(this.#berth, this.lease, () => {
      this.#isAsking = false;
      this.#step();
    });
  }

  /** Decides by what is known now. */
  #step(): void {
    if (this.#isStopping) return;
    clearTimeout(this.#timer);
    const { limits, isPaused } = this.#options;
    const { sockets } = this.#berth;
    const now = bootTime();
    const canSee = sockets.some(({ socket: { listen } }) => !(listen.kind === "datagram" && isUnix(listen)));
    const step = drainStep(
      {
        now,
        deadline: this.#facts.deadline,
        lastSeen: canSee ? this.#lastSeen : undefined,
        players: this.#players,
      },
      limits,
    );
    if (step.kind === "wait") this.#timer = setTimeout(() => this.look(), step.milliseconds);
    else if (isPaused()) this.#timer = setTimeout(() => this.look(), RETRY_MS);
    else void this.#stop(step.why);
  }

  /** Whether its server has been asked to end: nobody can take that back. */
  get isStopping(): boolean {
    return this.#isStopping && !this.#isClosed;
  }

  /** Stops nothing any more. Idempotent. */
  close(): void {
    this.#isStopping = true;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#countdown);
  }

  /** Has the server told at the next mark. */
  #count(): void {
    clearTimeout(this.#countdown);
    const { deadline } = this.#facts;
    const left = deadline === undefined ? 0 : deadline - bootTime();
    const mark = nextMark(left);
    if (mark === undefined) return;
    this.#countdown = setTimeout(() => {
      this.#options.onMark(this.#facts);
      this.#count();
    }, left - mark);
  }

  get #players(): KnownPlayers | undefined {
    // A berth's players are those of its present tenant. During a handover, that is the old one.
    const { players, lease } = this.#berth;
    if (players === undefined || lease !== this.lease) return undefined;
    // A report of the same millisecond may be from before the drain began.
    return { count: players.count, isCurrent: lease.said !== undefined || players.at > this.#facts.began };
  }

  async #stop(why: "empty" | "deadline"): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#countdown);
    const { stops, log, onFailed } = this.#options;
    const { name } = this.#berth;
    const { privileged, uid } = this.#facts;
    const clause = why === "empty" ? "it is drained, and nobody plays" : "the deadline of its drain has come";
    try {
      const done = await stops.end(this.#berth, [this.lease], { privileged, uid, why: clause });
      // A closed drain says nothing about the lease: its record, or a later drain, goes on.
      if (done.kind === "stopped" || this.lease.ended || this.#isClosed) return;
      const reason = "message" in done ? done.message : done.kind;
      log("warning", `berth ${name}: its server was not stopped, so its drain is over: ${reason}`, {
        event: "drain-failed",
        berth: name,
      });
      onFailed();
    } catch (error) {
      if (!isScarcity(error)) throw error;
      if (this.#isClosed) return;
      this.#isStopping = false;
      this.#timer = setTimeout(() => this.look(), RETRY_MS);
      this.#count();
    }
  }
}

function isUnix({ address }: { readonly address: { readonly family: string } }): boolean {
  return address.family === "unix";
}
