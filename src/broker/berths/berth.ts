/**
 * One berth: its sockets, leases, stash and root. It holds the state and turns it into descriptors. It decides nothing
 * about permissions.
 */

import type { BerthSpec, QuerySpec, RootState } from "../../config/keys/spec.ts";
import type { Problem } from "../../config/toml/problem.ts";
import type { Borrowed, FdHandle } from "../../fd.ts";
import { formatListenAddress } from "../../net/address.ts";
import type { SocketKind } from "../../net/transport.ts";
import { ROOT } from "../../placeholder.ts";
import type { Range } from "../../rootfs/ranges/range.ts";
import type { Root, Strategy } from "../../rootfs/roots/root.ts";
import type { BrokerMethods } from "../../varlink/io.berthd.Broker.types.ts";
import { BerthCounts } from "../counts/berth-counts.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import type { PassedSocket } from "../sockets/passed-socket.ts";
import type { Lease } from "./lease.ts";
import { type Stashed, shownName } from "./stash.ts";

/** What a Watch reports. */
export type BerthEvent = BrokerMethods["Watch"]["reply"]["event"];

export type BerthState = "vacant" | "occupied" | "handover";

/** A descriptor as in replies. `index` is present only in a message that carries it. */
export interface DescriptorView {
  readonly name: string;
  readonly kind: SocketKind | "root" | "stash";
  readonly address?: string;
  readonly index?: number;
}

export interface LeaseView {
  readonly id: string;
  readonly pid: number;
  readonly uid: number;
  readonly unit?: string;
}

/** The state of a server that starts on demand. */
export interface StartView {
  readonly state: "waiting" | "queued" | "starting" | "running" | "failed";
  /** How many starts in a row have failed. */
  readonly failures: number;
  /** Why the last one failed, and the server's exit status or signal. */
  readonly reason?: string;
  readonly status?: number;
  readonly signal?: string;
  /** Time of the next try, in microseconds since 1970. */
  readonly next?: number;
}

/** A berth's root. The strategy is known while a root exists. */
export interface RootView {
  readonly images: readonly string[];
  readonly state: RootState | "readonly";
  readonly strategy?: Strategy;
}

/** What a vacant berth waits for: as the type Wait of the interface. */
export interface WaitView {
  readonly for: "repair" | "lock" | "guard";
  readonly pid?: number;
  readonly message: string;
}

/** An ordinary repair takes milliseconds: nobody needs to hear of it. */
const SHORT_REPAIR_MS = 1000;

/** How to ask a berth's server who plays: as the type Query of the interface. */
export interface QueryView {
  readonly type: string;
  readonly host?: string;
  readonly port?: number;
}

/** Who plays, as an observer has reported it: as the type Players of the interface. */
export interface PlayersView {
  readonly count: number;
  readonly max?: number;
  readonly name?: string;
  readonly map?: string;
  /** Microseconds since 1970. */
  readonly at: number;
}

/** A berth as List and Watch show it. */
export interface BerthView {
  readonly name: string;
  readonly state: BerthState;
  readonly descriptors: readonly DescriptorView[];
  readonly range?: Range;
  readonly root?: RootView;
  readonly lease?: LeaseView;
  readonly ready?: boolean;
  /** The tenant's own status text. */
  readonly status?: string;
  /** The configuration has changed since the tenant took it. */
  readonly outdated?: true;
  /** Addresses of an older configuration that the tenant still has. */
  readonly older?: readonly string[];
  readonly start?: StartView;
  /** How many of its descriptors are in the service manager's store. */
  readonly kept?: number;
  /** Why nobody can take it. */
  readonly problems?: readonly Problem[];
  readonly wait?: WaitView;
  readonly query?: QueryView;
  readonly players?: PlayersView;
}

export class Berth {
  spec: BerthSpec;
  sockets: readonly NamedSocket[];
  /** Why nobody can take it; mostly none. */
  problems: readonly Problem[] = [];
  /** Its sockets of an earlier broker that have no place while its configuration cannot be read or is missing. */
  aside: readonly PassedSocket[] = [];
  /** The present tenant's lease. */
  lease: Lease | undefined;
  /** The newcomer's lease during a handover. */
  incoming: Lease | undefined;
  /** What an observer has reported of its players, while that is true. */
  players: PlayersView | undefined;
  /** Set while its server is one that starts on demand. */
  start: StartView | undefined;
  /** Built for the first lease, released with the last. */
  root: Root | undefined;
  /** The root's copy in the store. */
  rootCopy: StoredCopy | undefined;
  /** While its sockets are set right: why nobody gets it, and since when (`performance.now`). */
  wait: { readonly view: WaitView; readonly since: number } | undefined;
  /** The ids reserved for it. */
  range: Range | undefined;
  readonly stash: Map<string, Stashed> = new Map();
  /** Descriptors stored for its servers with bind delivery: two for each. */
  keptBinds = 0;
  readonly counts: BerthCounts = new BerthCounts();
  /** Changes whenever an earlier answer about this berth becomes outdated. */
  generation = 0;

  constructor(spec: BerthSpec, sockets: readonly NamedSocket[]) {
    this.spec = spec;
    this.sockets = sockets;
  }

  get name(): string {
    return this.spec.name;
  }

  /**
   * Sets the configuration and the sockets. Returns whether a socket was replaced, whether anything changed, and
   * whether that is something that a tenant has got with its lease.
   */
  configure(
    spec: BerthSpec,
    sockets: readonly NamedSocket[],
  ): { readonly moved: boolean; readonly changed: boolean; readonly outdates: boolean } {
    const moved =
      sockets.length !== this.sockets.length || sockets.some(({ socket }, at) => this.sockets[at]?.socket !== socket);
    const changed = moved || meaning(this.spec) !== meaning(spec);
    const outdates = moved || (changed && meaning(forTenant(this.spec)) !== meaning(forTenant(spec)));
    this.spec = spec;
    this.sockets = sockets;
    this.generation++;
    return { moved, changed, outdates };
  }

  get state(): BerthState {
    if (this.incoming !== undefined) return "handover";
    return this.lease === undefined ? "vacant" : "occupied";
  }

  /** Whether its tenants get a root. */
  get hasRoot(): boolean {
    return this.root !== undefined || this.spec.root !== undefined;
  }

  /** How many descriptors a message to a tenant carries. */
  get size(): number {
    return this.sockets.length + (this.hasRoot ? 1 : 0) + this.stash.size;
  }

  /** Descriptions in the order of {@link borrow}; numbered from `first` if given. */
  descriptors(first?: number): DescriptorView[] {
    const views: DescriptorView[] = this.sockets.map((one) => ({
      name: one.name,
      kind: one.socket.listen.kind,
      address: addressText(one),
    }));
    if (this.hasRoot) views.push({ name: ROOT, kind: "root" });
    for (const { name } of this.stash.values()) views.push({ name: shownName(name), kind: "stash" });
    return first === undefined ? views : views.map((view, index) => ({ ...view, index: first + index }));
  }

  /**
   * The descriptors, borrowed, between `before` and `after`. `root` is the result of {@link Root.lend}, if there is a
   * root.
   */
  borrow(root: FdHandle | undefined, before: readonly number[] = [], after: readonly number[] = []): Borrowed {
    for (const { socket } of this.sockets) socket.share();
    const fds = [
      ...before,
      ...this.sockets.map(({ socket }) => socket.fd),
      ...(root === undefined ? [] : [root.fd]),
      ...Array.from(this.stash.values(), ({ handle }) => handle.fd),
      ...after,
    ];
    return { fds: Int32Array.from(fds), count: fds.length };
  }

  view(): BerthView {
    const kept = this.#kept;
    return {
      name: this.name,
      state: this.state,
      descriptors: this.descriptors(),
      ...(this.range !== undefined && { range: this.range }),
      ...(this.hasRoot && { root: this.#rootView() }),
      ...(this.lease !== undefined && { lease: leaseView(this.lease), ready: this.lease.ready }),
      ...(this.lease?.status !== undefined && { status: this.lease.status }),
      ...(this.lease?.outdated === true && { outdated: true as const }),
      ...(this.lease !== undefined && this.lease.older.length > 0 && { older: this.lease.older }),
      ...(this.start !== undefined && { start: this.start }),
      ...(kept > 0 && { kept }),
      ...(this.problems.length > 0 && { problems: this.problems.map(shownProblem) }),
      ...this.#shownWait(),
      ...(this.spec.server.query !== undefined && { query: this.#query(this.spec.server.query) }),
      ...(this.players !== undefined && { players: this.players }),
    };
  }

  /**
   * A lease takes two descriptors, the tenant's pidfd and a page of facts; a root takes two, its mount and its facts.
   */
  get #kept(): number {
    const held = this.sockets.map(({ socket }) => socket);
    const sockets = [...held, ...this.aside].filter(({ storedCopy }) => storedCopy !== undefined).length;
    const leases = [this.lease, this.incoming].filter((lease) => lease?.storedCopy !== undefined).length;
    let stashed = 0;
    for (const { storedCopy } of this.stash.values()) if (storedCopy !== undefined) stashed++;
    const root = this.rootCopy === undefined ? 0 : 2;
    return sockets + stashed + 2 * leases + this.keptBinds + root;
  }

  #shownWait(): { readonly wait?: WaitView } {
    if (this.wait === undefined || this.lease !== undefined) return {};
    const { view, since } = this.wait;
    return view.for === "repair" && performance.now() - since < SHORT_REPAIR_MS ? {} : { wait: view };
  }

  /** With the port of its first socket that has one, unless the configuration has another. */
  #query({ type, host, port }: QuerySpec): QueryView {
    const [own] = this.sockets.flatMap(({ socket: { address } }) => (address.family === "unix" ? [] : [address.port]));
    const asked = port ?? own;
    return { type, ...(host !== undefined && { host }), ...(asked !== undefined && { port: asked }) };
  }

  #rootView(): RootView {
    if (this.root !== undefined) {
      const { images, state, strategy } = this.root.facts;
      return { images, state, strategy };
    }
    const { images = [], state = "persistent", readOnly = false } = this.spec.root ?? {};
    return { images, state: readOnly ? "readonly" : state };
  }
}

/** Where a socket is bound, as the configuration writes it. */
export function addressText({ socket }: NamedSocket): string {
  return formatListenAddress({ ...socket.listen, address: socket.address });
}

/** What of a configuration is about a tenant: not who observes it, and how. */
function forTenant({ observer: _, server: { query: __, ...server }, ...spec }: BerthSpec): Omit<BerthSpec, "observer"> {
  return { ...spec, server };
}

/** A configuration without the places of its values: equal texts mean equal configurations. */
function meaning(spec: Omit<BerthSpec, "observer">): string {
  return JSON.stringify(spec, (key, value) => (key === "origin" ? undefined : value));
}

function shownProblem({ file, line, message, remedy }: Problem): Problem {
  return { file, line, message, remedy };
}

/** A lease as clients see it. */
export function leaseView(lease: Lease): LeaseView {
  const { pid, uid, unit } = lease.tenant;
  return { id: lease.id, pid, uid, ...(unit !== undefined && { unit }) };
}
