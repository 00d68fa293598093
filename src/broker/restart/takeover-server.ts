/**
 * The old broker's side of a takeover (io.berthd.Succession). It holds its breath, gives away a copy of everything, and
 * then either ends, leaving all as it is, or goes on as if nothing had been. In between nobody but the heir is heard, so
 * that what was handed over is what there is. The heir's side is predecessor.ts.
 */
import { borrow } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { successionInterface } from "../../varlink/io.berthd.Succession.ts";
import type { SuccessionMethods } from "../../varlink/io.berthd.Succession.types.ts";
import { encodeReply } from "../../varlink/message.ts";
import { type Answer, answer, type Implementation, type Later, type Methods, refuse } from "../../varlink/service.ts";
import type { Session } from "../session/session.ts";
import type { TakeoverSnapshot } from "./takeover-snapshot.ts";
import { TakeoverStore } from "./takeover-store.ts";

export interface TakeoverServerOptions {
  readonly snapshot: Pick<TakeoverSnapshot, "pause" | "collect" | "resume">;
  /** Why nobody can take over from this broker, if so. */
  readonly obstacle: string | undefined;
  /** Lets go of everything that was stored and of all connections but this one. */
  readonly end: (heir: Session) => void;
  readonly sys: Native;
  readonly log: Log;
  /** Milliseconds until the heir must have confirmed. */
  readonly patience: number;
}

export const CONFIRM_TIMEOUT_MS = 30_000;
/** Descriptors in a message. */
const BATCH = 200;

export class TakeoverServer {
  readonly #options: TakeoverServerOptions;
  #heir: Session | undefined;
  #hasAll = false;
  #deadline: NodeJS.Timeout | undefined;
  readonly #waiting: (() => void)[] = [];

  constructor(options: TakeoverServerOptions) {
    this.#options = options;
  }

  /** The interface, for a {@link Service}. */
  get implementation(): Implementation<Session> {
    return {
      text: successionInterface,
      methods: {
        TakeOver: { streams: true, handle: (session) => this.#takeOver(session) },
        Confirm: { handle: (session) => this.#confirm(session) },
      } satisfies Methods<Session, SuccessionMethods>,
    };
  }

  /** Whether nothing may change, for somebody is about to have it. */
  get isUnderWay(): boolean {
    return this.#heir !== undefined;
  }

  /** Whether somebody has all of it, and may go on with it alone if this broker ends. */
  get hasGiven(): boolean {
    return this.isUnderWay && this.#hasAll;
  }

  /** Resolves when nobody is about to take over. */
  over(): Promise<void> {
    return this.isUnderWay ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve();
  }

  /** The broker is closed: nobody takes over any more. */
  close(): void {
    clearTimeout(this.#deadline);
    this.#heir = undefined;
  }

  #takeOver(session: Session): Answer | Later {
    const { obstacle, log } = this.#options;
    if (!session.privileged) return denied;
    const why = this.isUnderWay ? "another broker is taking over from it just now" : obstacle;
    if (why !== undefined) return unavailable(why);
    this.#heir = session;
    session.onceClosed(() => {
      // While the snapshot is made, #handOver looks for itself.
      if (session === this.#heir && this.#hasAll) this.#giveUp(session);
    });
    const { pid, uid } = session.peer;
    log("notice", `pid ${pid} takes over`, { event: "succession", pid, uid });
    return (settle) => void this.#handOver(session).then(settle);
  }

  async #handOver(session: Session): Promise<Answer | undefined> {
    const { snapshot, sys, log, patience } = this.#options;
    const store = new TakeoverStore(sys);
    try {
      await snapshot.pause(session);
      if (this.#heir !== session) return undefined; // the broker was closed
      if (!session.closed) snapshot.collect(store);
    } catch (error) {
      store.close();
      if (!(error instanceof Error)) throw error;
      this.#giveUp(session, error.message);
      return unavailable(`not everything could be handed over: ${error.message}`);
    }
    this.#hasAll = true;
    if (session.closed) {
      this.#giveUp(session);
      return undefined;
    }
    this.#deadline = setTimeout(() => {
      log("warning", `pid ${session.peer.pid} has not confirmed that it has everything within ${patience / 1000} s`, {
        event: "succession",
      });
      session.close();
    }, patience);
    return send(session, store);
  }

  #confirm(session: Session): Answer | undefined {
    const { end, log } = this.#options;
    if (!session.privileged) return denied;
    if (session !== this.#heir || !this.#hasAll) return unavailable("nothing was handed over on this connection");
    const { pid } = session.peer;
    this.close();
    log("notice", `replaced by pid ${pid}`, { event: "replaced", pid });
    end(session);
    session.endWith(answer({}));
    return undefined;
  }

  #giveUp(heir: Session, why = "it has closed its connection"): void {
    this.close();
    this.#hasAll = false;
    const { pid } = heir.peer;
    this.#options.log("warning", `pid ${pid} does not take over: ${why}; everything is as it was`, {
      event: "succession-failed",
      pid,
    });
    this.#options.snapshot.resume();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

type TakeOverReply = SuccessionMethods["TakeOver"]["reply"];

/** Sends all but the last message, which is the answer. */
function send(session: Session, store: TakeoverStore): Answer {
  const batches = store.take(BATCH);
  const last = batches.pop() ?? [];
  for (const batch of batches) {
    const handles = batch.map(({ handle }) => handle);
    session.send({
      bytes: encodeReply({ names: batch.map(({ name }) => name) } satisfies TakeOverReply, true),
      borrowed: borrow(handles),
      owned: handles,
    });
  }
  const owned = last.map(({ handle }) => handle);
  return { ...answer({ names: last.map(({ name }) => name) } satisfies TakeOverReply, borrow(owned)), owned };
}

const denied = refuse("org.varlink.service.PermissionDenied", {
  message: "only root and the broker's own user may take over from it",
});

function unavailable(message: string): Answer {
  return refuse("io.berthd.Succession.Unavailable", { message });
}
