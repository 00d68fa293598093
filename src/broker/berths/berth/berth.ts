/**
 * One berth: its sockets, leases, stash and root. It holds the state and turns it into descriptors. It decides nothing
 * about permissions.
 */

import type { BerthSpec, QuerySpec, SdkSpec } from "../../../config/keys/spec.ts";
import type { Problem } from "../../../config/toml/problem.ts";
import type { Borrowed, FdHandle } from "../../../fd.ts";
import { formatListenAddress } from "../../../net/address.ts";
import { ROOT } from "../../../placeholder.ts";
import type { Range } from "../../../rootfs/ranges/range.ts";
import type { Root } from "../../../rootfs/roots/root.ts";
import { BerthCounts } from "../../counts/berth-counts.ts";
import { wallTimeOf } from "../../record/boot-time.ts";
import type { DrainFacts } from "../../record/lease-facts.ts";
import type { StoredCopy } from "../../record/stored-copy.ts";
import type { NamedSocket } from "../../sockets/named-socket.ts";
import type { PassedSocket } from "../../sockets/passed-socket.ts";
import type {
  BerthState,
  BerthView,
  DescriptorView,
  DrainView,
  JoinsView,
  LeaseView,
  PlayersView,
  QueryView,
  RootView,
  SdkView,
  StartView,
  WaitView,
  WakeView,
} from "./berth-view.ts";
import type { Lease } from "./lease.ts";
import { lostProblem } from "./lost-problem.ts";
import { isSameForTenant, isSameMeaning } from "./meaning.ts";
import { type Stashed, shownName } from "./stash.ts";

const NO_STASH: ReadonlyMap<string, Stashed> = new Map();
const NO_PROBLEMS: readonly Problem[] = [];
const NOTHING_ASIDE: readonly PassedSocket[] = [];

/** An ordinary repair takes milliseconds: nobody needs to hear of it. */
const SHORT_REPAIR_MS = 1000;

export class Berth {
  spec: BerthSpec;
  sockets: readonly NamedSocket[];
  /** Why nobody can take it; mostly none. */
  problems: readonly Problem[] = NO_PROBLEMS;
  /** Its sockets of an earlier broker that have no place while its configuration cannot be read or is missing. */
  aside: readonly PassedSocket[] = NOTHING_ASIDE;
  /** The present tenant's lease. */
  lease: Lease | undefined;
  /** The newcomer's lease during a handover. */
  incoming: Lease | undefined;
  /** Who plays, as its server says or an observer has reported, while that is true. */
  players: PlayersView | undefined;
  /** What woke its server last. */
  wake: WakeView | undefined;
  /** The images that a root would have that is built now, if there are all of them. Set with the root. */
  latestImages: (() => readonly string[] | undefined) | undefined;
  #notedKey = "";
  #since = 0;
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
  /** Made for the first: most berths have none. */
  #stash: Map<string, Stashed> | undefined;
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
    const changed = moved || !isSameMeaning(this.spec, spec);
    const outdates = moved || (changed && !isSameForTenant(this.spec, spec));
    this.spec = spec;
    this.sockets = sockets;
    this.generation++;
    return { moved, changed, outdates };
  }

  get stash(): ReadonlyMap<string, Stashed> {
    return this.#stash ?? NO_STASH;
  }

  putStashed(stashed: Stashed): void {
    this.#stash ??= new Map();
    this.#stash.set(stashed.name, stashed);
  }

  /** Forgets it, and closes nothing. */
  forgetStashed(name: string): void {
    this.#stash?.delete(name);
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
    const views: DescriptorView[] = [];
    // Without object spread for sockets: it costs a microsecond for each lease.
    for (const one of this.sockets) {
      const { name } = one;
      const { kind } = one.socket.listen;
      const address = addressText(one);
      views.push(first === undefined ? { name, kind, address } : { name, kind, address, index: first + views.length });
    }
    const index = (): { index?: number } => (first === undefined ? {} : { index: first + views.length });
    if (this.hasRoot) views.push({ name: ROOT, kind: "root", ...index() });
    for (const { name } of this.stash.values()) views.push({ name: shownName(name), kind: "stash", ...index() });
    return views;
  }

  /**
   * The descriptors, borrowed, between `before` and `after`. `root` is the result of {@link Root.lend}, if there is a
   * root.
   */
  borrow(root: FdHandle | undefined, before: readonly number[] = [], after: readonly number[] = []): Borrowed {
    const fds = [...before];
    for (const { socket } of this.sockets) {
      socket.share();
      fds.push(socket.fd);
    }
    if (root !== undefined) fds.push(root.fd);
    for (const { handle } of this.stash.values()) fds.push(handle.fd);
    fds.push(...after);
    return { fds: new Int32Array(fds), count: fds.length };
  }

  /** Something has happened to it: notes since when it is in its state. */
  noteState(): void {
    const key = this.#stateKey;
    if (key === this.#notedKey) return;
    // Ten thousand berths share a few texts.
    this.#notedKey = stateKeys.get(key) ?? key;
    stateKeys.set(key, this.#notedKey);
    this.#since = Date.now() * 1000;
  }

  /** What people call its state. */
  get #stateKey(): string {
    return `${this.state} ${this.start?.state} ${this.problems.length > 0}`;
  }

  /** When it got into its state, in microseconds since 1970; undefined if nobody was there to see that. */
  get since(): number | undefined {
    if (this.state === "occupied") return this.lease?.since;
    return this.#stateKey === this.#notedKey ? this.#since : undefined;
  }

  view(): BerthView {
    const kept = this.#kept;
    const { since } = this;
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
      ...this.#shownProblems(),
      ...this.#shownWait(),
      ...(since !== undefined && { since }),
      ...(this.counts.restarts > 0 && { restarts: this.counts.restarts }),
      ...(this.wake !== undefined && { wake: this.wake }),
      ...(this.spec.server.query !== undefined && { query: this.#query(this.spec.server.query) }),
      ...(this.players !== undefined && { players: this.players }),
      ...(this.lease?.drain !== undefined && { drain: drainView(this.lease.drain, this.lease.joins) }),
      ...(this.spec.server.sdk !== undefined && { sdk: this.#sdk(this.spec.server.sdk) }),
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

  /** A vacant berth can be taken although a socket of it is lost. */
  #shownProblems(): { readonly problems?: readonly Problem[] } {
    const lost = this.lease === undefined ? this.sockets.flatMap((one) => lostProblem(this.spec, one) ?? []) : [];
    const all = [...this.problems, ...lost];
    return all.length > 0 ? { problems: all.map(shownProblem) } : {};
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

  #sdk({ protocol, grpcPort: grpc, httpPort: http }: SdkSpec): SdkView {
    const { user, rangeId, watchdog } = this.spec.server;
    const uid = user?.uid ?? (this.range && rangeId !== undefined ? this.range.base + rangeId : undefined);
    return {
      protocol,
      grpc,
      http,
      ...(uid !== undefined && { uid }),
      ...(watchdog !== undefined && { watchdog: watchdog * 1_000_000 }),
    };
  }

  #rootView(): RootView {
    if (this.root !== undefined) {
      const { images, state, strategy } = this.root.facts;
      const latest = this.latestImages?.() ?? images;
      return { images, state, strategy, ...(latest.join() !== images.join() && { newer: latest }) };
    }
    const { images = [], state = "persistent", readOnly = false } = this.spec.root ?? {};
    return { images, state: readOnly ? "readonly" : state };
  }
}

/** The few that there are. */
const stateKeys = new Map<string, string>();

/** Where a socket is bound, as the configuration writes it. */
export function addressText({ socket }: NamedSocket): string {
  return formatListenAddress({ ...socket.listen, address: socket.address });
}

function shownProblem({ file, line, message, remedy }: Problem): Problem {
  return { file, line, message, remedy };
}

/** A drain as clients see it. */
export function drainView({ began, deadline }: DrainFacts, joins: JoinsView | undefined): DrainView {
  return { began, ...(deadline !== undefined && { deadline: wallTimeOf(deadline) }), ...joins };
}

/** A lease as clients see it. */
export function leaseView(lease: Lease): LeaseView {
  const { pid, uid, unit } = lease.tenant;
  const { id, since } = lease;
  return { id, pid, uid, ...(unit !== undefined && { unit }), ...(since !== undefined && { since }) };
}
