/**
 * Who plays on servers that run, as they answer to their doormen. A server is asked only while somebody needs to know,
 * one question at a time. Questions are no traffic: what arrives while a server is asked does not keep it awake.
 */
import { networkInterfaces } from "node:os";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import type { Native } from "../../native.ts";
import type { Address } from "../../net/address.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Reports } from "../berths/reports/reports.ts";
import type { Doormen } from "./doorman/doormen.ts";
import { identityOf } from "./doorman/identity.ts";
import { connectLines } from "./doorman/lines.ts";

/** An answer is not older. */
const FRESH_MS = 2000;
/** After each question without an answer, twice as many are left out, up to so many. */
const MOST_LEFT_OUT = 31;
/** The times of the last questions: a server may read late. */
const TIMES = 8;

export interface InquiriesOptions {
  readonly sys: Native;
  readonly doormen: Pick<Doormen, "ask">;
  readonly reports: Pick<Reports, "answered">;
}

type Answered = (players: number | undefined) => void;

/** What is known of one lease. Milliseconds: `at` of a clock that only goes forward, the other times since 1970. */
interface Known {
  players: number | undefined;
  at: number;
  waiting: Answered[];
  readonly times: { readonly from: number; readonly to: number }[];
  /** When the question was sent that has no answer yet. */
  sent: number | undefined;
  silences: number;
  leftOut: number;
}

export class Inquiries {
  readonly #options: InquiriesOptions;
  readonly #byLease = new WeakMap<Lease, Known>();
  #isClosed = false;

  constructor(options: InquiriesOptions) {
    this.#options = options;
  }

  /** Whether the server of a berth can be asked. */
  canAsk({ spec }: Berth): boolean {
    if (spec.server.asleep === undefined) return false;
    return spec.sockets.some(({ listen, options }) => listen.some(({ address }) => isReachable(address, options)));
  }

  /** Asks the server of a berth who plays; undefined if nobody knows. Calls back later, unless this is closed first. */
  ask(berth: Berth, lease: Lease, answered: Answered): void {
    const known = this.#of(lease);
    known.waiting.push(answered);
    if (known.waiting.length > 1) return;
    const isFresh = performance.now() - known.at < FRESH_MS;
    if (this.#isClosed || !this.canAsk(berth) || isFresh || known.leftOut > 0) {
      if (!isFresh && known.leftOut > 0) known.leftOut--;
      setImmediate(() => this.#tell(known));
      return;
    }
    this.#send(berth, lease, known);
  }

  /** Whether a datagram that a server got at this time may be a question of ours. */
  mayBeOurs(lease: Lease, time: number): boolean {
    const known = this.#byLease.get(lease);
    if (known === undefined) return false;
    if (known.sent !== undefined && time >= known.sent) return true;
    return known.times.some(({ from, to }) => time >= from && time <= to);
  }

  /** Nobody is told anything any more. */
  close(): void {
    this.#isClosed = true;
  }

  #send(berth: Berth, lease: Lease, known: Known): void {
    const { sys, doormen, reports } = this.#options;
    const { asleep } = berth.spec.server;
    doormen.ask(identityOf(berth), {
      open: () => {
        const protocol = asleep?.protocol ?? "quake3";
        const isThere = berth.lease === lease && asleep !== undefined;
        const byName = new Map(berth.spec.sockets.map(({ name, options }) => [name, options]));
        const open = isThere ? berth.sockets.filter(({ socket }) => socket.open) : [];
        const asked = open.filter(({ name, socket }) => isReachable(socket.listen.address, byName.get(name)));
        const sockets = asked.map(({ socket }) => ({ address: socket.address, kind: socket.listen.kind }));
        const { fds, ...lines } = connectLines(sockets, protocol === "minecraft", sys);
        return { order: { asleep: protocol, ...lines }, fds };
      },
      onSent: () => {
        known.sent = Date.now();
      },
      onAnswer: (players) => {
        if (known.sent !== undefined) {
          // Stamps of the kernel are finer.
          known.times.push({ from: known.sent, to: Date.now() + 1 });
          if (known.times.length > TIMES) known.times.shift();
        }
        known.sent = undefined;
        known.silences = players === undefined ? known.silences + 1 : 0;
        known.leftOut = players === undefined ? Math.min(2 ** known.silences - 1, MOST_LEFT_OUT) : 0;
        known.players = players;
        known.at = performance.now();
        if (!this.#isClosed && berth.lease === lease) reports.answered(berth, players);
        this.#tell(known);
      },
    });
  }

  #tell(known: Known): void {
    if (this.#isClosed) return;
    for (const answered of known.waiting.splice(0)) answered(known.players);
  }

  #of(lease: Lease): Known {
    const known = this.#byLease.get(lease);
    if (known !== undefined) return known;
    const fresh: Known = {
      ...{ players: undefined, at: Number.NEGATIVE_INFINITY, waiting: [], times: [] },
      ...{ sent: undefined, silences: 0, leftOut: 0 },
    };
    this.#byLease.set(lease, fresh);
    return fresh;
  }
}

/**
 * Whether the broker's own packets come to a socket. One of an interface gets those to that interface's addresses
 * (ip_route_output_key_hash_rcu in net/ipv4/route.c). To any other they are loopback's, and another server might get
 * them: a socket that is bound to all addresses is asked there.
 */
function isReachable(address: Address, { device }: Pick<SocketOptions, "device"> = {}): boolean {
  if (device === undefined || device === "lo") return true;
  return address.family !== "unix" && networkInterfaces()[device]?.some((own) => own.address === address.host) === true;
}
