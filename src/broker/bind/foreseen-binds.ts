/**
 * Binds whose answer can be given before the server makes them: the first one of each held socket, and the same again
 * while nothing is searched for; by a socket that is as new but for what can be carried over. The thread that the
 * kernel reports them to compares bytes, carries that over and answers, so such a server does not wait for the event
 * loop. All others are decided when they come, by bind-answers.ts, whose rules these are.
 */
import type { Native } from "../../native.ts";
import {
  AF_INET6,
  encodeSockaddr,
  familyNumber,
  formatAddress,
  type InetAddress,
  type ListenAddress,
} from "../../net/address.ts";
import { typeNumber } from "../../net/transport.ts";
import { AsNew, type SetBefore } from "../plans/as-new.ts";
import type { PlanGuard } from "../plans/guarded-plan.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import type { Bound } from "./bind-conflict.ts";
import type { BindReports } from "./bind-reports.ts";
import type { BindSource, Given, Offers } from "./offers.ts";

const ANY_NETWORK = 0;
const FIRST = { againMs: 0, times: 1 };

/** What a server gets for such a bind, and what it asked for. */
export interface Foreseen extends NamedSocket {
  readonly asked: InetAddress;
  readonly now: Bound;
  readonly kind: AsNew;
  readonly isAgain?: boolean;
}

export interface ForeseenBindsOptions {
  readonly berth: BindSource;
  readonly lease: { readonly ended: boolean };
  /** The network namespace in which the server was started, if that is known. */
  readonly network: number | undefined;
  /** Whether an earlier broker has served this server. */
  readonly isRestored: boolean;
  readonly sys: Native;
  readonly guard: PlanGuard;
  readonly offers: Offers;
  /** Whether the server has not had the socket since it was as new. */
  readonly isFirst: (socket: HeldSocket) => boolean;
  readonly thread: Pick<BindReports, "foresee" | "forget">;
}

/** New sockets, by domain, type and IPV6_V6ONLY. */
const kinds = new WeakMap<Native, Map<string, AsNew>>();

export class ForeseenBinds {
  readonly #options: ForeseenBindsOptions;
  readonly #foreseen = new Map<number, Foreseen>();
  #lastId = 0;
  #isClosed = false;
  /** Earlier answers are being noted. A bind foreseen meanwhile would stay with the thread, unknown here. */
  #isForgetting = false;
  #due: NodeJS.Immediate | undefined;
  readonly #onClosing = (): void => this.renew();

  constructor(options: ForeseenBindsOptions) {
    this.#options = options;
  }

  /** Finds out what new sockets of the berth's kinds are, and begins. */
  async begin(): Promise<void> {
    const { berth, sys, guard } = this.#options;
    const all = new Set(berth.sockets.flatMap(({ socket }) => this.#kindsOf(socket.listen)));
    for (const kind of all) await kind.learn(sys, guard);
    this.renew();
  }

  /** The berth, its lease or what the server has is otherwise now. Of many such events at a time, one costs. */
  renew(): void {
    this.#forget();
    if (!this.#isClosed) this.#due ??= setImmediate(() => this.#foreseeAll());
  }

  #foreseeAll(): void {
    this.#due = undefined;
    if (this.#mayForesee) for (const bind of this.#answers()) this.#foresee(bind, FIRST);
  }

  /** After a restart, or where a server gets its sockets at its start as well, nobody knows what it has. */
  get #mayForesee(): boolean {
    const { berth, lease, isRestored } = this.#options;
    if (this.#isClosed || this.#isForgetting) return false;
    return !lease.ended && !isRestored && !berth.spec.server.deliver.includes("listen-fds");
  }

  /** The server gets the socket for another bind. */
  withdraw(socket: HeldSocket): void {
    if ([...this.#foreseen.values()].some((bind) => bind.socket === socket && bind.isAgain !== true)) this.renew();
  }

  /** For so many milliseconds, the same bind gets the same socket as it is. All such binds are answered so often. */
  again({ name, socket, asked, now }: Given, againMs: number, times: number): void {
    if (!this.#mayForesee || !socket.open || now === undefined) return;
    if (asked.family === "unix" || asked.scope !== undefined || asked.port === 0) return;
    const kind = this.#kindsOf(socket.listen).find(({ v6only }) => v6only === now.v6only);
    // Of several that fit, the server gets one that it does not have. A search would tell.
    const { length } = this.#options.offers.fitting({ ...now, address: asked }, false);
    if (kind === undefined || length !== 1) return;
    for (const [id, bind] of this.#foreseen) if (bind.socket === socket) this.#foreseen.delete(id);
    const fresh = { ...now, reusesPort: false, reusesAddress: false };
    this.#foresee({ name, socket, asked, now: fresh, kind, isAgain: true }, { againMs, times });
  }

  /** What the server got by the bind of that number, and had set before: the calls at these places have varied. */
  delivered(id: number, varied: Int32Array): (Foreseen & { readonly before: SetBefore }) | undefined {
    const bind = this.#foreseen.get(id);
    if (bind === undefined) return undefined;
    const before = bind.kind.setBefore(varied);
    const { reusesPort, reusesAddress } = before;
    return { ...bind, before, now: { ...bind.now, reusesPort, reusesAddress } };
  }

  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#due);
    this.#forget();
  }

  #forget(): void {
    this.#isForgetting = true;
    this.#options.thread.forget();
    this.#isForgetting = false;
    for (const { socket } of this.#foreseen.values()) socket.closing.delete(this.#onClosing);
    this.#foreseen.clear();
  }

  #foresee(bind: Foreseen, how: { readonly againMs: number; readonly times: number }): void {
    const { berth, network, thread } = this.#options;
    const { kind } = bind;
    const { calls } = kind;
    if (calls === undefined) return;
    const where = berth.spec.server.anyNamespace ? ANY_NETWORK : (network ?? ANY_NETWORK);
    const id = ++this.#lastId;
    this.#foreseen.set(id, bind);
    bind.socket.closing.add(this.#onClosing);
    const sockaddr = encodeSockaddr(bind.asked);
    thread.foresee(id, { held: bind.socket.fd, sockaddr, network: where, calls, kind, ...how });
  }

  /** The addresses of its sockets, and all addresses with their ports. */
  #answers(): readonly Foreseen[] {
    const { berth, offers, isFirst } = this.#options;
    const answers = new Map<string, Foreseen>();
    for (const { socket } of berth.sockets) {
      const { listen, address } = socket;
      // A scope is told apart by its index, which may change.
      if (!socket.open || !isFirst(socket) || address.family === "unix" || address.scope !== undefined) continue;
      for (const kind of this.#kindsOf(listen)) {
        for (const host of [address.host, address.family === "ipv6" ? "::" : "0.0.0.0"]) {
          const asked = { ...address, host };
          const request = { kind: listen.kind, address: asked, v6only: kind.v6only };
          // Of several that fit, the server gets another one only while it has the best. A search would tell.
          const [offer] = offers.fitting(request, false);
          if (offer === undefined || !isFirst(offer.socket)) continue;
          const { name, socket } = offer;
          const now = { ...request, reusesPort: false, reusesAddress: false };
          answers.set(`${listen.kind} ${formatAddress(asked)} ${kind.v6only}`, { name, socket, asked, now, kind });
        }
      }
    }
    return [...answers.values()];
  }

  /** What a server may bind to get such a socket. */
  #kindsOf({ kind, address }: ListenAddress): readonly AsNew[] {
    const { sys } = this.#options;
    const known = kinds.get(sys) ?? new Map<string, AsNew>();
    kinds.set(sys, known);
    const [domain, type] = [familyNumber(address), typeNumber(kind)];
    return (domain === AF_INET6 ? [false, true] : [false]).map((v6only) => {
      const key = `${domain} ${type} ${v6only}`;
      const found = known.get(key) ?? new AsNew(domain, type, v6only);
      known.set(key, found);
      return found;
    });
  }
}
