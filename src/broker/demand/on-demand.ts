/** The berths whose servers start on demand. Each has a starter; a limit says how many start at once. */

import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import { Connections } from "./connections.ts";
import { Doormen, type DoormenOptions } from "./doorman/doormen.ts";
import { IdleWatch } from "./idle-watch.ts";
import { Inquiries, type InquiriesOptions } from "./inquiries.ts";
import type { Runner } from "./runner.ts";
import { Starter, type StarterContext, type StartLimits } from "./starter.ts";

export interface OnDemandOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly runner: Runner;
  readonly limits: StartLimits;
  readonly events: BerthEvents;
  readonly reports: InquiriesOptions["reports"];
  readonly onHangUp: StarterContext["onHangUp"];
  /** Called with the doormen's processes whenever others are there. */
  readonly onDoormen: DoormenOptions["onProcesses"];
}

interface Attended {
  readonly starter: Starter;
  readonly idle: IdleWatch;
}

/** A server is not started while its berth has a problem: it could not take it. */
function isOnDemand({ spec, problems }: Berth): boolean {
  return spec.server.start === "on-demand" && problems.length === 0;
}

export class OnDemand {
  readonly #options: OnDemandOptions;
  readonly #byBerth = new Map<Berth, Attended>();
  readonly #starting = new Set<Starter>();
  readonly #queue = new Set<Starter>();
  /** One list for all who look whether anybody is connected. */
  readonly connections: Connections;
  /** Those who answer for servers. */
  readonly doormen: Doormen;
  /** Who plays on the servers that run. */
  readonly inquiries: Inquiries;
  #isPaused = false;

  constructor(options: OnDemandOptions) {
    this.#options = options;
    this.connections = new Connections(options.sys);
    this.doormen = new Doormen({ sys: options.sys, log: options.log, onProcesses: options.onDoormen });
    this.inquiries = new Inquiries({ ...options, doormen: this.doormen });
  }

  /**
   * Watches no socket and starts nothing until {@link resume}: sockets may be closed meanwhile. Ends each doorman that
   * still has copies, and waits for that; after {@link withdraw} none has.
   */
  pauseNow(): void {
    this.#pause();
    this.doormen.dropNow();
  }

  /** As {@link pauseNow}, but resolves when no doorman has a copy of a socket. It pauses at once. */
  async pause(): Promise<void> {
    this.#pause();
    await this.doormen.withdraw();
  }

  /** Takes the sockets from the doormen until {@link readmit} or {@link resume}. Resolves when they have no copy. */
  async withdraw(): Promise<void> {
    await this.doormen.withdraw();
  }

  readmit(): void {
    this.doormen.readmit();
  }

  /** Sets the berths, as configured now. */
  resume(berths: readonly Berth[]): void {
    this.#isPaused = false;
    this.doormen.readmit();
    if (this.#queue.size > 0) setImmediate(() => this.#startNext());
    const wanted = new Set(berths.filter(isOnDemand));
    for (const [berth, attended] of this.#byBerth) if (!wanted.has(berth)) this.#forget(berth, attended);
    for (const berth of wanted) {
      const known = this.#byBerth.get(berth);
      if (known === undefined) this.#byBerth.set(berth, this.#attend(berth));
      else {
        known.starter.resume();
        known.idle.update();
      }
    }
  }

  /** Handles an event of a berth. */
  observe(berth: Berth): void {
    const attended = this.#byBerth.get(berth);
    attended?.starter.update();
    attended?.idle.update();
  }

  /** Somebody stops the server of this berth, so its exit is not a failure. */
  expectEnd(berth: Berth): void {
    this.#byBerth.get(berth)?.starter.expectEnd();
  }

  /**
   * Does not start the server of this berth until the returned function is called. So the client that stopped it can
   * take the berth first, although packets wait.
   */
  hold(berth: Berth): () => void {
    const starter = this.#byBerth.get(berth)?.starter;
    starter?.hold();
    return () => {
      if (starter !== undefined && this.#byBerth.get(berth)?.starter === starter) starter.release();
    };
  }

  /** Starts and stops nothing any more. Servers keep running. */
  close(): void {
    for (const [berth, attended] of this.#byBerth) this.#forget(berth, attended);
    this.inquiries.close();
    this.doormen.close();
  }

  #pause(): void {
    this.#isPaused = true;
    for (const { starter } of this.#byBerth.values()) starter.pause();
  }

  #attend(berth: Berth): Attended {
    const { limits, sys, log, runner, events } = this.#options;
    const starter = new Starter(berth, {
      ...this.#options,
      doormen: this.doormen,
      enqueue: (one) => {
        this.#queue.add(one);
        // Not inside the poll callback that triggered it: the event loop turns between two starts.
        setImmediate(() => this.#startNext());
      },
      dequeue: (one) => {
        this.#queue.delete(one);
        if (this.#starting.delete(one)) setImmediate(() => this.#startNext());
      },
    });
    const idle = new IdleWatch(berth, {
      sys,
      log,
      runner,
      connections: this.connections,
      inquiries: this.inquiries,
      stopTimeout: limits.patience,
      onStop: () => {
        starter.expectEnd();
        events.tell("stopping", berth);
      },
    });
    return { starter, idle };
  }

  #startNext(): void {
    if (this.#isPaused) return;
    for (const starter of this.#queue) {
      if (this.#starting.size >= this.#options.limits.concurrent) return;
      this.#queue.delete(starter);
      this.#starting.add(starter);
      starter.start();
    }
  }

  #forget(berth: Berth, { starter, idle }: Attended): void {
    this.#byBerth.delete(berth);
    starter.close();
    idle.close();
  }
}
