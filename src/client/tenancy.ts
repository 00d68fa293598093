/** What a tenant has: its lease, its descriptors, and the words it can have with the broker about them. */
import type { Socket } from "node:dgram";
import type { Server } from "node:net";
import { BerthError, RefusedError } from "../errors.ts";
import { closeAll, FdHandle } from "../fd.ts";
import { native } from "../native.ts";
import type { SocketKind } from "../net/transport.ts";
import type { VarlinkClient } from "../varlink/client.ts";
import type { WaitOptions } from "../wait-options.ts";
import { dgramSocket, netServer } from "./adapters.ts";
import { DirectoryHandle } from "./directory-handle.ts";

/** One descriptor of the berth; the tenancy owns `handle`. */
export interface TenantDescriptor {
  readonly name: string;
  readonly kind: SocketKind | "root" | "stash";
  /** Where a socket is bound, as the configuration writes it: `udp://0.0.0.0:27960`. */
  readonly address: string | undefined;
  readonly handle: FdHandle;
}

export interface TenancyOptions {
  readonly berth: string;
  readonly lease: string;
  readonly descriptors: readonly TenantDescriptor[];
  readonly client: VarlinkClient;
  /** Connects again when the broker, short of descriptors, has let the idle connection go. */
  readonly reconnect: (signal: AbortSignal | undefined) => Promise<VarlinkClient>;
}

/**
 * A berth that this process holds. Async-disposable: the end of it closes what was made of it and gives the berth
 * back. Should the process die instead, the broker sees it, and the sockets stay open for the next tenant.
 */
export class Tenancy implements AsyncDisposable {
  readonly berth: string;
  readonly lease: string;
  readonly descriptors: readonly TenantDescriptor[];
  readonly #options: TenancyOptions;
  readonly #made = new Set<Server | Socket>();
  #root: DirectoryHandle | undefined;
  #client: VarlinkClient;
  #released: Promise<void> | undefined;

  constructor(options: TenancyOptions) {
    this.berth = options.berth;
    this.lease = options.lease;
    this.descriptors = options.descriptors;
    this.#options = options;
    this.#client = options.client;
  }

  /**
   * The descriptor of a name; `index` counts those of one name, in the order of their addresses. It stays the
   * tenancy's: dup() what must outlive it. Throws DESCRIPTOR_MISMATCH when the berth has none of that name.
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
   * A `net.Server` that listens on the socket: give it a "connection" listener at once. Closing it leaves the berth's
   * socket open. Throws DESCRIPTOR_MISMATCH for what is no listening stream socket.
   */
  net(name: string, index = 0): Server {
    const server = netServer(this.fd(name, index), name, native);
    return this.#keep(server);
  }

  /**
   * A bound `dgram.Socket` on a UDP socket of the berth: give it a "message" listener at once. It listens already, so
   * there is no "listening" event to wait for. Throws DESCRIPTOR_MISMATCH for anything else.
   */
  dgram(name: string, index = 0): Socket {
    return this.#keep(dgramSocket(this.fd(name, index), name, native));
  }

  /**
   * Leaves a descriptor in the berth for this tenant's successor, who finds it under `name`. `fd` stays the caller's.
   * Throws a RefusedError for what cannot be kept.
   */
  async stash(name: string, fd: FdHandle | number, options: WaitOptions = {}): Promise<void> {
    if (fd instanceof FdHandle) return this.#call("Stash", { lease: this.lease, name }, options, [fd]);
    const result = native.dup(fd);
    if (result < 0)
      throw new BerthError("DESCRIPTOR_CLOSED", `${fd} is not an open descriptor, so it cannot be stashed`);
    using handle = FdHandle.adopt(result);
    return await this.#call("Stash", { lease: this.lease, name }, options, [handle]);
  }

  /** Says that this process serves now: a handover is complete, and what predecessors had stashed is dropped. */
  async ready(options: WaitOptions = {}): Promise<void> {
    await this.#call("Ready", { lease: this.lease }, options);
  }

  /** Gives the berth back: closes servers and sockets made here, and the descriptors. Idempotent. */
  release(options: WaitOptions = {}): Promise<void> {
    this.#released ??= this.#release(options);
    return this.#released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #release(options: WaitOptions): Promise<void> {
    for (const made of this.#made) made.close();
    this.#made.clear();
    this.#root?.close();
    closeAll(this.descriptors.map(({ handle }) => handle));
    try {
      await this.#call("Release", { lease: this.lease }, options);
    } catch (error) {
      // It has ended by other means, another Tenancy of this process for one: that is what was asked for.
      if (!(error instanceof RefusedError) || error.error !== "io.berthd.Broker.NoSuchLease") throw error;
    } finally {
      this.#client.close();
    }
  }

  #keep<T extends Server | Socket>(made: T): T {
    this.#made.add(made);
    made.once("close", () => this.#made.delete(made));
    return made;
  }

  async #call(
    method: string,
    parameters: Record<string, unknown>,
    { signal }: WaitOptions,
    fds: readonly FdHandle[] = [],
  ): Promise<void> {
    if (this.#client.closed) this.#client = await this.#options.reconnect(signal);
    using _ = await this.#client.call(`io.berthd.Broker.${method}`, parameters, { signal, fds });
  }
}

function countOf({ length }: readonly TenantDescriptor[]): string {
  return length === 1 ? "it has one descriptor: index 0" : `it has ${length} descriptors: index 0 to ${length - 1}`;
}

function namesOf(descriptors: readonly TenantDescriptor[]): string {
  return [...new Set(descriptors.map(({ name }) => name))].join(", ") || "none";
}
