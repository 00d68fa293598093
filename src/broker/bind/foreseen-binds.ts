/**
 * Binds whose answer can be given before the server makes them: the first one of each held socket, by a socket that is
 * as new. The thread that the kernel reports them to compares bytes and answers, so such a server does not wait for the
 * event loop. All others are decided when they come, by bind-answers.ts, whose rules these are.
 */
import type { Native } from "../../native.ts";
import {
  encodeSockaddr,
  familyNumber,
  formatAddress,
  type InetAddress,
  type ListenAddress,
} from "../../net/address.ts";
import { typeNumber } from "../../net/transport.ts";
import { AsNew } from "../plans/as-new.ts";
import type { PlanGuard } from "../plans/guarded-plan.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import type { Bound } from "./bind-conflict.ts";
import type { BindReports } from "./bind-reports.ts";
import type { BindSource, Offers } from "./offers.ts";

const ANY_NETWORK = 0;

/** What a server gets for such a bind, and what it asked for. */
export interface Foreseen extends NamedSocket {
  readonly asked: InetAddress;
  readonly now: Bound;
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

/** New sockets, by domain and type. */
const kinds = new WeakMap<Native, Map<string, AsNew>>();

export class ForeseenBinds {
  readonly #options: ForeseenBindsOptions;
  readonly #foreseen = new Map<number, Foreseen>();
  #lastId = 0;
  #isClosed = false;
  #due: NodeJS.Immediate | undefined;
  readonly #onClosing = (): void => this.renew();

  constructor(options: ForeseenBindsOptions) {
    this.#options = options;
  }

  /** Finds out what new sockets of the berth's kinds are, and begins. */
  async begin(): Promise<void> {
    const { berth, sys, guard } = this.#options;
    const all = new Set(berth.sockets.map(({ socket }) => this.#kindOf(socket.listen)));
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
    const { berth, lease, isRestored } = this.#options;
    // After a restart, or where a server gets its sockets at its start as well, nobody knows what it has.
    if (this.#isClosed || lease.ended || isRestored || berth.spec.server.deliver.includes("listen-fds")) return;
    for (const bind of this.#answers()) this.#foresee(bind);
  }

  /** The server gets the socket for another bind. */
  withdraw(socket: HeldSocket): void {
    if ([...this.#foreseen.values()].some((bind) => bind.socket === socket)) this.renew();
  }

  /** What the server got by the bind of that number. */
  delivered(id: number): Foreseen | undefined {
    return this.#foreseen.get(id);
  }

  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#due);
    this.#forget();
  }

  #forget(): void {
    this.#options.thread.forget();
    for (const { socket } of this.#foreseen.values()) socket.closing.delete(this.#onClosing);
    this.#foreseen.clear();
  }

  #foresee(bind: Foreseen): void {
    const { berth, network, thread } = this.#options;
    const { calls } = this.#kindOf(bind.socket.listen);
    if (calls === undefined) return;
    const where = berth.spec.server.anyNamespace ? ANY_NETWORK : (network ?? ANY_NETWORK);
    const id = ++this.#lastId;
    this.#foreseen.set(id, bind);
    bind.socket.closing.add(this.#onClosing);
    thread.foresee(id, { held: bind.socket.fd, sockaddr: encodeSockaddr(bind.asked), network: where, calls });
  }

  /** The addresses of its sockets, and all addresses with their ports. */
  #answers(): readonly Foreseen[] {
    const { berth, offers, isFirst } = this.#options;
    const answers = new Map<string, Foreseen>();
    for (const { socket } of berth.sockets) {
      const { listen, address } = socket;
      // A scope is told apart by its index, which may change.
      if (!socket.open || !isFirst(socket) || address.family === "unix" || address.scope !== undefined) continue;
      const { kind } = listen;
      const { v6only } = this.#kindOf(listen);
      for (const host of [address.host, address.family === "ipv6" ? "::" : "0.0.0.0"]) {
        const asked = { ...address, host };
        // Of several that fit, the server gets another one only while it has the best. A search would tell.
        const [offer] = offers.fitting({ kind, address: asked, v6only }, false);
        if (offer === undefined || !isFirst(offer.socket)) continue;
        const now = { kind, v6only, address: asked, reusesPort: false, reusesAddress: false };
        answers.set(`${kind} ${formatAddress(asked)}`, { name: offer.name, socket: offer.socket, asked, now });
      }
    }
    return [...answers.values()];
  }

  #kindOf({ kind, address }: ListenAddress): AsNew {
    const { sys } = this.#options;
    const known = kinds.get(sys) ?? new Map<string, AsNew>();
    kinds.set(sys, known);
    const [domain, type] = [familyNumber(address), typeNumber(kind)];
    const key = `${domain} ${type}`;
    const found = known.get(key) ?? new AsNew(domain, type);
    known.set(key, found);
    return found;
  }
}
