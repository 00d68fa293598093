/**
 * What becomes of new joins while a berth drains whose `server.drain` is "queue": a filter on the listening sockets
 * drops them, and clients try again until the next server takes them. Those who play go on. The filter is in the
 * kernel alone: the next broker finds it there, and goes on with the drain or removes it. The repair after a lease
 * removes it in any case.
 */
import type { Log } from "../../log.ts";
import { joinShapes, lastJoinShapes, refusingProtocol } from "../../net/join-shapes.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { JoinsView } from "../berths/berth/berth-view.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { type PlansGuard, runAllGuarded } from "../plans/guarded-plan.ts";
import type { SocketPlan } from "../plans/socket-call.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import { socketInode } from "../sockets/passed-socket.ts";
import type { Joins as Held } from "./join-filter.ts";
import { holdJoins, letJoinsIn } from "./join-plan.ts";

/** How often to try to let joins in again where the guard does not answer, and the milliseconds between. */
const TRIES = 30;
const RETRY_MS = 1000;

export interface JoinsOptions {
  readonly guard: PlansGuard;
  readonly log: Log;
}

/** How one socket's plan went: why it had no effect, if so. `isTransient`: trying again makes sense. */
interface Tried {
  readonly why: string | undefined;
  readonly isTransient: boolean;
}

export class Joins {
  readonly #options: JoinsOptions;
  readonly #retries = new Set<NodeJS.Timeout>();

  constructor(options: JoinsOptions) {
    this.#options = options;
  }

  /**
   * Holds them back on all sockets where that is possible. `unrefused`: with "refuse", the sockets at which nobody is
   * turned away, and why; at all others it is no matter whether joins could wait.
   */
  async hold(berth: Berth, lease: Lease, unrefused?: ReadonlyMap<HeldSocket, string>): Promise<JoinsView> {
    const { query, asleep } = berth.spec.server;
    const protocols = [query?.type, asleep?.protocol];
    const shapes = joinShapes(...protocols);
    const lastShapes = lastJoinShapes(refusingProtocol(...protocols));
    const notes: string[] = [];
    let refused = 0;
    let queued = 0;
    for (const { name, socket } of berth.sockets) {
      const isRefused = unrefused?.has(socket) === false;
      const held = heldOf(socket, isRefused ? lastShapes : shapes);
      const { why } = "why" in held ? held : await this.#try(socket, lease, holdJoins(held.joins));
      if (lease.ended) break;
      if (isRefused) refused++;
      else if (why === undefined) queued++;
      if (isRefused) continue;
      const unanswered = unrefused?.get(socket);
      if (why !== undefined) notes.push(`new joins of socket ${name} go on: ${why}`);
      if (unanswered !== undefined) notes.push(`nobody is turned away at socket ${name}: ${unanswered}`);
    }
    for (const note of notes) this.#warn(berth, note);
    const joins = refused > 0 ? "refuse" : queued > 0 ? "queue" : "serve";
    return { joins, ...(notes.length > 0 && { note: notes.join("; ") }) };
  }

  /** Lets them in again. Where that fails, it is tried again, and the log says why. */
  async letIn(berth: Berth, lease: Lease, tries: number = TRIES): Promise<void> {
    const late: string[] = [];
    for (const { name, socket } of berth.sockets) {
      if (isUnix(socket)) continue;
      const { why, isTransient } = await this.#try(socket, lease, letJoinsIn());
      if (lease.ended) return;
      if (why === undefined) continue;
      if (isTransient && tries > 1) late.push(name);
      else this.#warn(berth, `new joins of socket ${name} wait until the next server: ${why}`);
    }
    if (late.length === 0) return;
    const retry = setTimeout(() => {
      this.#retries.delete(retry);
      if (lease.drain === undefined) void this.letIn(berth, lease, tries - 1);
    }, RETRY_MS);
    this.#retries.add(retry);
  }

  /** Tries nothing again. */
  close(): void {
    for (const retry of this.#retries) clearTimeout(retry);
    this.#retries.clear();
  }

  /** A repair after the lease waits for it, and so removes whatever it sets. */
  async #try(socket: HeldSocket, lease: Lease, plan: SocketPlan<string | undefined>): Promise<Tried> {
    let why: string | undefined;
    const planned = function* (): SocketPlan<void> {
      why = yield* plan;
    };
    const fd = (): number | undefined => (lease.ended || !socket.open ? undefined : socket.fd);
    // A process of its own for each socket: one that waits for a server's lock holds up no other server's joins.
    const owner = socket.open ? (`socket ${socketInode(socket.fd)}` as const) : lease.tenant.uid;
    const work = runAllGuarded([{ fd, plan: planned() }], this.#options.guard, owner);
    socket.carrying.add(work);
    const outcome = await work.finally(() => socket.carrying.delete(work));
    if (outcome === "done") return { why, isTransient: false };
    const reason = outcome === "stuck" ? "its server has the kernel hold its lock" : "there is no guard process";
    return { why: reason, isTransient: true };
  }

  #warn(berth: Berth, note: string): void {
    this.#options.log("warning", `berth ${berth.name}: ${note}`, { event: "joins", berth: berth.name });
  }
}

function isUnix({ listen }: HeldSocket): boolean {
  return listen.address.family === "unix";
}

/** What its filter is to drop, or why there can be none. */
function heldOf(socket: HeldSocket, shapes: Held | undefined): { readonly joins: Held } | { readonly why: string } {
  if (isUnix(socket)) return { why: "it is a UNIX socket" };
  if (socket.listen.kind === "stream") return { joins: "connections" };
  if (shapes !== undefined) return { joins: shapes };
  return { why: "berthd does not know how a client joins; server.query or server.asleep says the protocol" };
}
