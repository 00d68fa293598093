/**
 * The old broker's side of a takeover (io.berthd.Succession). It answers no calls, gives the successor a copy of
 * everything, and then ends, or goes on as before if the successor fails. Nothing can change meanwhile, because only
 * the successor is heard. The new broker's side is takeover-client.ts.
 */
import { borrow } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { successionInterface } from "../../varlink/interfaces/io.berthd.Succession.ts";
import type { SuccessionMethods } from "../../varlink/interfaces/io.berthd.Succession.types.ts";
import { encodeReply } from "../../varlink/message.ts";
import { type Answer, answer, type Implementation, type Later, type Methods, refuse } from "../../varlink/service.ts";
import type { Session } from "../session/session.ts";
import type { ControlSocket } from "../sockets/control/control-socket.ts";
import type { StoreMirror } from "./store-mirror.ts";
import type { TakeoverSnapshot } from "./takeover-snapshot.ts";
import { TakeoverStore } from "./takeover-store.ts";

export interface TakeoverServerOptions {
  readonly snapshot: Pick<TakeoverSnapshot, "pause" | "collect" | "resume">;
  /** Why no broker can take over from this one; undefined when one can. */
  readonly obstacle: string | undefined;
  /** Ends this broker: closes everything but the connection of the successor. */
  readonly end: (successor: Session) => void;
  readonly sys: Native;
  readonly log: Log;
  /** Milliseconds in which the successor must confirm. */
  readonly confirmTimeout: number;
}

export const CONFIRM_TIMEOUT_MS = 30_000;
/** Descriptors in a message. */
const BATCH = 200;

export class TakeoverServer {
  readonly #options: TakeoverServerOptions;
  #successor: Session | undefined;
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

  /** Whether a takeover is under way: nothing may change. */
  get isUnderWay(): boolean {
    return this.#successor !== undefined;
  }

  /** Whether the successor has everything, so that it can go on alone if this broker ends. */
  get hasGiven(): boolean {
    return this.isUnderWay && this.#hasAll;
  }

  /** Resolves when no takeover is under way. */
  over(): Promise<void> {
    return this.isUnderWay ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve();
  }

  /** Ends the takeover: the broker closes. */
  close(): void {
    clearTimeout(this.#deadline);
    this.#successor = undefined;
  }

  #takeOver(session: Session): Answer | Later {
    const { obstacle, log, confirmTimeout } = this.#options;
    if (!session.privileged) return denied;
    const why = this.isUnderWay ? "another broker is already taking over" : obstacle;
    if (why !== undefined) return unavailable(why);
    this.#successor = session;
    session.onceClosed(() => {
      if (session === this.#successor) this.#giveUp(session);
    });
    const { pid, uid } = session.peer;
    // From here on: to pause may take long, too.
    this.#deadline = setTimeout(() => {
      const what = this.#hasAll ? "confirm the takeover" : "get everything";
      log("warning", `pid ${pid} did not ${what} within ${confirmTimeout / 1000} s`, { event: "succession" });
      session.close();
    }, confirmTimeout);
    log("notice", `pid ${pid} takes over`, { event: "succession", pid, uid });
    return (reply) => void this.#handOver(session).then(reply);
  }

  async #handOver(session: Session): Promise<Answer | undefined> {
    const { snapshot, sys } = this.#options;
    const store = new TakeoverStore(sys);
    try {
      await snapshot.pause(session);
      if (this.#successor !== session) return undefined; // given up, or the broker was closed
      snapshot.collect(store);
    } catch (error) {
      store.close();
      if (!(error instanceof Error)) throw error;
      if (this.#successor !== session) return undefined;
      this.#giveUp(session, error.message);
      return unavailable(`not everything could be handed over: ${error.message}`);
    }
    this.#hasAll = true;
    return send(session, store);
  }

  #confirm(session: Session): Answer | undefined {
    const { end, log } = this.#options;
    if (!session.privileged) return denied;
    if (session !== this.#successor || !this.#hasAll) return unavailable("nothing was handed over on this connection");
    const { pid } = session.peer;
    this.close();
    log("notice", `replaced by pid ${pid}`, { event: "replaced", pid });
    end(session);
    session.endWith(answer({}));
    return undefined;
  }

  #giveUp(successor: Session, why = "it has closed its connection"): void {
    this.close();
    this.#hasAll = false;
    const { pid } = successor.peer;
    this.#options.log("warning", `pid ${pid} does not take over: ${why}; this broker keeps serving`, {
      event: "succession-failed",
      pid,
    });
    this.#options.snapshot.resume();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

type TakeOverReply = SuccessionMethods["TakeOver"]["reply"];

/** Sends all messages but the last one, which is the answer. */
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

/** What can be in the way of a takeover. */
export interface ObstacleParts {
  readonly mirror: StoreMirror | undefined;
  readonly control: Pick<ControlSocket, "own">;
}

/** Why no other broker can take over from this one. */
export function takeoverObstacle({ mirror, control }: ObstacleParts): string | undefined {
  if (mirror !== undefined)
    return "it is a service whose manager keeps its descriptors; `systemctl restart berthd` loses nothing";
  return control.own === undefined
    ? "another program passed its control socket; restart it with that program"
    : undefined;
}
