/**
 * Stops the server of one berth after the configured time without players. The server itself says who plays, or answers
 * its doorman; otherwise traffic tells. While it is known that nobody plays, nothing is traffic: a monitor's questions
 * do not keep it running. It checks eight times per period and adds no cost per packet. A stop can come up to one
 * eighth of the period late.
 */
import { constants } from "node:os";
import { isScarcity } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { processesOf, type ServerProcess } from "../berths/server-processes.ts";
import { LINGER_MS } from "./doorman/doormen.ts";
import { Ending } from "./ending.ts";
import type { Inquiries } from "./inquiries.ts";
import type { Runner } from "./runner.ts";
import { Traffic, type TrafficOptions } from "./traffic.ts";

/** Checks per period. */
const CHECKS = 8;

/** A server that can be asked is checked at least so often: its doorman stays there for the next question. */
const MOST_BETWEEN_ASKS_MS = LINGER_MS - 10_000;

/** When to try again to stop a server where the broker has no descriptor left for that. */
const RETRY_MS = 1000;

const { SIGTERM } = constants.signals;

export interface IdleWatchOptions extends TrafficOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly runner: Pick<Runner, "stop">;
  readonly inquiries: Pick<Inquiries, "ask" | "canAsk" | "mayBeOurs">;
  /** Milliseconds from SIGTERM to SIGKILL, unless the berth says another time. */
  readonly stopTimeout: number;
  /** Called before the server is stopped. */
  readonly onStop: () => void;
}

/** `empty`: it is known that nobody plays. */
type Use = "used" | "unused" | "empty";

export class IdleWatch {
  readonly #berth: Berth;
  readonly #options: IdleWatchOptions;
  readonly #traffic: Traffic;
  #lease: Lease | undefined;
  #stopAfter: number | undefined;
  #lastSeen = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Another one makes an answer void that is under way. */
  #turn = 0;
  #isStopping = false;
  #ending: Ending | undefined;

  constructor(berth: Berth, options: IdleWatchOptions) {
    this.#berth = berth;
    this.#options = options;
    this.#traffic = new Traffic(options);
    this.update();
  }

  /** Call it when the berth's tenant or configuration may have changed. */
  update(): void {
    const { lease, spec, sockets } = this.#berth;
    const { stopAfter } = spec.server;
    if (lease === this.#lease && stopAfter === this.#stopAfter) return;
    if (lease !== this.#lease) {
      this.#isStopping = false;
      this.#lastSeen = performance.now();
    }
    this.#lease = lease;
    this.#stopAfter = stopAfter;
    if (this.#isStopping) return;
    this.#turn++;
    clearTimeout(this.#timer);
    if (lease === undefined || stopAfter === undefined) return;
    this.#traffic.seen(sockets);
    this.#schedule(lease, stopAfter * 1000);
  }

  close(): void {
    this.#turn++;
    clearTimeout(this.#timer);
    this.#ending?.close();
  }

  #schedule(lease: Lease, stopAfter: number): void {
    const interval = stopAfter / CHECKS;
    const canAsk = this.#options.inquiries.canAsk(this.#berth);
    this.#timer = setTimeout(
      () => this.#look(lease, stopAfter),
      canAsk ? Math.min(interval, MOST_BETWEEN_ASKS_MS) : interval,
    );
  }

  #look(lease: Lease, stopAfter: number): void {
    const { inquiries } = this.#options;
    const now = performance.now();
    const turn = this.#turn;
    this.#traffic.ready(this.#berth.sockets, () => {
      if (turn !== this.#turn) return;
      const isUsed = this.#traffic.seen(this.#berth.sockets, (time) => inquiries.mayBeOurs(lease, time));
      this.#ask(lease, stopAfter, isUsed, now);
    });
  }

  #ask(lease: Lease, stopAfter: number, isUsed: boolean, now: number): void {
    const { inquiries } = this.#options;
    if (lease.said !== undefined || !inquiries.canAsk(this.#berth)) {
      // A server that says that it has players may have lost them.
      return this.#decide(lease, stopAfter, lease.said?.count === 0 ? "empty" : isUsed ? "used" : "unused", now);
    }
    const turn = this.#turn;
    inquiries.ask(this.#berth, lease, (players) => {
      if (turn !== this.#turn) return;
      const isPlayed = players === undefined ? isUsed : players > 0;
      this.#decide(lease, stopAfter, isPlayed ? "used" : players === 0 ? "empty" : "unused", now);
    });
  }

  /** `now`: when it was looked at. */
  #decide(lease: Lease, stopAfter: number, use: Use, now: number): void {
    // A handover has two tenants: stop neither.
    if (use === "used" || this.#berth.incoming !== undefined) this.#lastSeen = now;
    if (now - this.#lastSeen >= stopAfter) this.#stop(lease, stopAfter, use);
    else this.#schedule(lease, stopAfter);
  }

  #stop(lease: Lease, stopAfter: number, use: Use): void {
    const { name } = this.#berth;
    const { log, runner, onStop } = this.#options;
    this.#isStopping = true;
    const what = use === "empty" ? "nobody has played" : "no traffic";
    log("info", `berth ${name}: ${what} for ${stopAfter / 1000} s; stopping pid ${lease.tenant.pid}`, {
      event: "stopping",
      berth: name,
      pid: lease.tenant.pid,
    });
    onStop();
    const isUnit = runner.stop(name, lease.tenant.unit, (reason) => {
      log("warning", `berth ${name}: systemd did not stop ${lease.tenant.unit}: ${reason}`, {
        event: "stop-failed",
        berth: name,
      });
      this.#end(lease);
    });
    if (!isUnit) this.#end(lease);
  }

  /** Asks the tenant to end, and kills what is left when that takes too long. */
  #end(lease: Lease): void {
    const { name, spec } = this.#berth;
    const { log, sys, stopTimeout } = this.#options;
    const { pidfd } = lease;
    if (pidfd === undefined) return;
    const { stopSignal = SIGTERM } = spec.server;
    const timeout = spec.server.stopTimeout === undefined ? stopTimeout : spec.server.stopTimeout * 1000;
    const onKill = (): void => {
      const message = `berth ${name}: the server of pid ${lease.tenant.pid} did not end within ${timeout / 1000} s; sent SIGKILL`;
      log("warning", message, { event: "killed", berth: name, pid: lease.tenant.pid });
    };
    this.#ending?.close();
    const processes = (): Promise<readonly ServerProcess[]> => processesOf(this.#berth, lease);
    try {
      this.#ending = new Ending(lease, pidfd, { sys, signal: stopSignal, timeout, processes, onKill });
    } catch (error) {
      if (!isScarcity(error)) throw error;
      this.#ending = undefined;
      this.#timer = setTimeout(() => this.#end(lease), RETRY_MS).unref();
    }
  }
}
