/** A tenant's lease and descriptors, and its calls to the broker about them. */
import type { Socket } from "node:dgram";
import { EventEmitter } from "node:events";
import type { Server } from "node:net";
import { BerthError, RefusedError } from "../errors.ts";
import { closeAll, FdHandle } from "../fd.ts";
import { native } from "../native.ts";
import type { VarlinkClient } from "../varlink/client.ts";
import type { WaitOptions } from "../wait-options.ts";
import { dgramSocket, netServer, serveAgain } from "./adapters.ts";
import { BrokerCalls } from "./broker-calls.ts";
import { DirectoryHandle } from "./directory-handle.ts";
import type { StashConnectionsOptions, StashedConnections } from "./handover/give.ts";
import { Servers } from "./handover/servers.ts";
import { type TakeConnectionsOptions, type TakenConnections, takeConnections } from "./handover/take.ts";
import { type TenancyEvent, watchTenancy } from "./tenancy-watch.ts";
import { readGranted, type TenantDescriptor } from "./tenant-descriptor.ts";

export interface TenancyOptions {
  readonly berth: string;
  readonly lease: string;
  readonly descriptors: readonly TenantDescriptor[];
  /** Undefined where no broker answered, and this process has opened the sockets itself. */
  readonly client: VarlinkClient | undefined;
  /** Connects again if the broker closed the idle connection because it ran short of descriptors. */
  readonly reconnect: (signal: AbortSignal | undefined) => Promise<VarlinkClient>;
}

/** The listeners' arguments: why, as a {@link BerthError} with the code TENANCY_CHANGED. */
export type TenancyEvents = Readonly<Record<TenancyEvent, [reason: BerthError]>>;

/** Those of a signal that names none: its berth is another's, or another one. */
const CHANGES: readonly TenancyEvent[] = ["replaced", "removed", "outdated"];
const EVENTS: readonly TenancyEvent[] = [...CHANGES, "draining", "drain-cancelled", "handover", "resumed"];
const ENDS_HANDOVER: ReadonlySet<TenancyEvent> = new Set(["resumed", "replaced", "removed"]);

/**
 * A berth that this process holds. Disposing of it closes what was made from it and releases the berth. If the process
 * dies, the broker notices, and the sockets stay open for the next tenant.
 *
 * It emits "replaced" when another tenant has taken the berth over, "removed" when the berth is no longer configured or
 * somebody else has ended the lease, and "outdated" when the configuration of the berth has changed. "draining": the
 * broker stops this process once nobody plays or at a deadline, and "drain-cancelled": it does not after all.
 * "handover": a newcomer asks for the connections, see {@link stashConnections}, and "resumed": it is gone, and was
 * never ready. Listening to them does not keep the process alive.
 */
export class Tenancy extends EventEmitter<TenancyEvents> implements AsyncDisposable {
  readonly berth: string;
  readonly lease: string;
  readonly descriptors: readonly TenantDescriptor[];
  /** Whether a broker has granted it. False after `fallback: "bind"`: then there is no lease. */
  readonly isLeased: boolean;
  readonly #options: TenancyOptions;
  readonly #made = new Set<Server | Socket>();
  readonly #servers = new Servers();
  #root: DirectoryHandle | undefined;
  readonly #calls: BrokerCalls;
  #released: Promise<void> | undefined;

  /** Ends the watch, once there is one. */
  #watch: AbortController | undefined;
  /** The lease of the newcomer that asks for connections. */
  #newcomer: string | undefined;

  constructor(options: TenancyOptions) {
    super();
    this.berth = options.berth;
    this.lease = options.lease;
    this.descriptors = options.descriptors;
    this.#options = options;
    // Without a lease a call throws why there is no broker.
    this.#calls = new BrokerCalls(options.client, options.reconnect);
    this.isLeased = options.client !== undefined;
    // The broker is asked for events only once the program listens for one.
    EventEmitter.prototype.on.call(this, "newListener", (event: unknown) => {
      if (EVENTS.some((known) => known === event)) this.#startWatch();
    });
  }

  /**
   * A signal that is aborted at the first of these events; without arguments, at "replaced", "removed" or "outdated".
   * Its reason is a BerthError with the code TENANCY_CHANGED.
   */
  signal(...events: readonly TenancyEvent[]): AbortSignal {
    const controller = new AbortController();
    for (const event of events.length === 0 ? CHANGES : events) this.once(event, (reason) => controller.abort(reason));
    return controller.signal;
  }

  /**
   * The descriptor with that name; `index` counts the addresses of one name. The tenancy keeps it: dup() what must
   * outlive it. Throws DESCRIPTOR_MISMATCH when the berth has no such descriptor.
   */
  fd(name: string, index = 0): FdHandle {
    const named = this.descriptors.filter((descriptor) => descriptor.name === name);
    const found = named[index];
    if (found !== undefined) return found.handle;
    throw new BerthError(
      "DESCRIPTOR_MISMATCH",
      named.length > 0
        ? `berth ${this.berth}: ${name} has no index ${index}: ${countOf(named)}`
        : `berth ${this.berth} has no descriptor ${name}; it has ${namesOf(this.descriptors)}`,
    );
  }

  /**
   * The berth's root directory. It is closed when the tenancy ends. Throws DESCRIPTOR_MISMATCH if the berth has none.
   */
  get root(): DirectoryHandle {
    if (this.#root !== undefined) return this.#root;
    const found = this.descriptors.find(({ kind }) => kind === "root");
    if (found === undefined)
      throw new BerthError("DESCRIPTOR_MISMATCH", `berth ${this.berth} has no root: its configuration has no [root]`);
    const handle = found.handle.dup();
    try {
      this.#root = DirectoryHandle.adopt(handle);
      return this.#root;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /**
   * A `net.Server` that listens on the socket: add a "connection" listener at once. Closing it leaves the berth's
   * socket open. Throws DESCRIPTOR_MISMATCH unless it is a listening stream socket.
   */
  net(name: string, index = 0): Server {
    const handle = this.fd(name, index);
    const server = netServer(handle, name, native);
    this.#servers.add(server, () => {
      if (this.#released === undefined) serveAgain(this.#keep(server), handle, native);
    });
    return this.#keep(server);
  }

  /**
   * A bound `dgram.Socket` on a UDP socket of the berth: add a "message" listener at once. It already receives, so
   * there is no "listening" event. Throws DESCRIPTOR_MISMATCH for anything else.
   */
  dgram(name: string, index = 0): Socket {
    return this.#keep(dgramSocket(this.fd(name, index), name, native));
  }

  /**
   * Leaves a copy of a descriptor in the berth. This tenant's successor finds it under `name`. `fd` still belongs to
   * the caller. Throws a RefusedError if it cannot be stashed.
   */
  async stash(name: string, fd: FdHandle | number, options: WaitOptions = {}): Promise<void> {
    if (fd instanceof FdHandle) return this.#call("Stash", { lease: this.lease, name }, options, [fd]);
    const result = native.dup(fd);
    if (result < 0)
      throw new BerthError("DESCRIPTOR_CLOSED", `${fd} is not an open descriptor, so it cannot be stashed`);
    using handle = FdHandle.adopt(result);
    return await this.#call("Stash", { lease: this.lease, name }, options, [handle]);
  }

  /** Closes what was stashed under that name, by this tenant or another. Without any, nothing happens. */
  async unstash(name: string, options: WaitOptions = {}): Promise<void> {
    await this.#call("Unstash", { lease: this.lease, name }, options);
  }

  /** Reports that this process serves now. This completes a handover, and drops what predecessors stashed. */
  async ready(options: WaitOptions = {}): Promise<void> {
    if (this.isLeased) await this.#call("Ready", { lease: this.lease }, options);
  }

  /**
   * In a "handover", once: leaves the open connections of servers that {@link net} has made to the newcomer, which asks
   * for them by {@link takeConnections}. They stop here, with what was received and not read; the servers accept no
   * more.
   * All go on here if the newcomer is gone ("resumed"), or if this throws. What cannot be handed over goes on here and
   * is in `left`: TLS, connections with `setEncoding` or with an end that has closed, those of clients that do not
   * read, and more than a berth holds (251 descriptors).
   */
  async stashConnections(
    servers: Server | readonly Server[],
    options: StashConnectionsOptions = {},
  ): Promise<StashedConnections> {
    const newcomer = this.#newcomer;
    if (newcomer === undefined)
      throw new BerthError("TENANCY_CHANGED", `berth ${this.berth}: no newcomer asks for its connections (any more)`);
    return await this.#servers.handOver(Array.isArray(servers) ? servers : [servers], newcomer, this, options);
  }

  /**
   * As the newcomer of a handover (`acquire` with `replace`), before {@link ready}: the connections that the present
   * tenant leaves by {@link stashConnections}. None if there is no such tenant, or if it does not answer in time. Give
   * each to its server by `server.emit("connection", socket)`, and call `socket.resume()`.
   */
  async takeConnections(options: TakeConnectionsOptions = {}): Promise<TakenConnections> {
    if (!this.isLeased) return { connections: [], state: Buffer.alloc(0) };
    const { berth, lease } = this;
    const { reconnect: connect } = this.#options;
    const again = async ({ signal }: WaitOptions): Promise<readonly TenantDescriptor[]> =>
      readGranted(await this.#calls.ask("Acquire", { berth }, { signal })).descriptors;
    return await takeConnections(
      { berth, lease, connect, again, stash: this.stash.bind(this), unstash: this.unstash.bind(this) },
      options,
    );
  }

  /**
   * Releases the berth: closes the servers and sockets made here, and the descriptors. Idempotent. If the broker could
   * not be asked, the descriptors are closed all the same, and another call asks it again.
   */
  release(options: WaitOptions = {}): Promise<void> {
    this.#released ??= this.#release(options);
    return this.#released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #release(options: WaitOptions): Promise<void> {
    this.#watch?.abort();
    this.#servers.endWait();
    for (const made of this.#made) closeOnce(made);
    this.#made.clear();
    this.#root?.close();
    closeAll(this.descriptors.map(({ handle }) => handle));
    if (!this.isLeased) return;
    try {
      await this.#call("Release", { lease: this.lease }, options);
    } catch (error) {
      // The lease has already ended, for example by another Tenancy of this process. That is what the caller wanted.
      if (error instanceof RefusedError && error.error === "io.berthd.Broker.NoSuchLease") return;
      this.#released = undefined;
      throw error;
    } finally {
      this.#calls.close();
    }
  }

  #startWatch(): void {
    if (this.#watch !== undefined || this.#released !== undefined || !this.isLeased) return;
    this.#watch = new AbortController();
    const { berth, lease } = this;
    const { reconnect } = this.#options;
    const tell = (event: TenancyEvent, reason: BerthError, newcomer?: string): void => {
      if (event === "handover") this.#newcomer = newcomer;
      else if (ENDS_HANDOVER.has(event)) {
        this.#newcomer = undefined;
        // After the listeners: what they begin keeps the process alive.
        setImmediate(() => this.#servers.endWait());
      }
      // What a listener throws is the program's to see, not the watch's.
      process.nextTick(() => this.emit(event, reason));
    };
    void watchTenancy({ berth, lease, connect: reconnect, tell }, this.#watch.signal);
  }

  #keep<T extends Server | Socket>(made: T): T {
    this.#made.add(made);
    made.once("close", () => this.#made.delete(made));
    return made;
  }

  async #call(
    method: string,
    parameters: Readonly<Record<string, unknown>>,
    options: WaitOptions,
    fds: readonly FdHandle[] = [],
  ): Promise<void> {
    using _ = await this.#calls.ask(method, parameters, options, fds);
  }
}

/** Closes it, unless the program has: its "close" event may still be to come. A dgram.Socket closed twice throws. */
function closeOnce(made: Server | Socket): void {
  try {
    made.close();
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_SOCKET_DGRAM_NOT_RUNNING") throw error;
  }
}

function countOf({ length }: readonly TenantDescriptor[]): string {
  return length === 1 ? "it has one descriptor: index 0" : `it has ${length} descriptors: index 0 to ${length - 1}`;
}

function namesOf(descriptors: readonly TenantDescriptor[]): string {
  return [...new Set(descriptors.map(({ name }) => name))].join(", ") || "none";
}
