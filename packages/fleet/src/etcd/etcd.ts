/** etcd, as the fleet uses it: read, commit, lease, watch. Nothing else of this package knows of gRPC. */
import { Fault } from "../fault.ts";
import { CallFailed, Channel, DEADLINE_EXCEEDED, PERMISSION_DENIED, type TlsFiles, UNAVAILABLE } from "./channel.ts";
import {
  type Change,
  type Condition,
  type Entry,
  grantRequest,
  type KeyEvent,
  leaseRequest,
  type Range,
  readGrant,
  readKeepAlive,
  readTxn,
  readWatch,
  txnRequest,
  watchRequest,
} from "./messages.ts";

/** What was read, all at one revision. */
export interface Snapshot<T extends readonly Range[]> {
  readonly revision: number;
  /** In the order of the ranges. Entries are in the order of their keys. */
  readonly lists: { readonly [At in keyof T]: readonly Entry[] };
}

export interface Committed {
  /** False: a condition did not hold, and nothing was changed. */
  readonly done: boolean;
  readonly revision: number;
}

/** Events after a revision were asked for that etcd has forgotten. To read all keys again is the only way. */
export class Compacted extends Error {}

export interface Etcd {
  read<const T extends readonly Range[]>(...ranges: T): Promise<Snapshot<T>>;
  /**
   * Makes all changes if all conditions hold, and none otherwise. If it throws ETCD_UNREACHABLE, the changes may have
   * been made nevertheless: only reading tells.
   */
  commit(conditions: readonly Condition[], changes: readonly Change[]): Promise<Committed>;
  /** A new lease, which ends after `seconds` without {@link keepAlive}. */
  grant(seconds: number): Promise<bigint>;
  /** False: the lease has ended. */
  keepAlive(lease: bigint): Promise<boolean>;
  /** Ends a lease, and removes its keys. */
  revoke(lease: bigint): Promise<void>;
  /**
   * What happens to keys from a revision on, the revision included. First an empty list, once etcd watches. Ends with
   * the signal; throws {@link Compacted}, and ETCD_UNREACHABLE if the connection breaks.
   */
  watch(range: Range, from: number, signal: AbortSignal): AsyncGenerator<readonly KeyEvent[], void, void>;
}

/** etcd takes at most 128 changes at once (--max-txn-ops). */
const MOST_CHANGES = 100;

/** How long a call may take. A put on a loaded disk takes some hundred milliseconds. */
const CALL_MS = 5_000;

/** The members of one etcd. One connection is open at a time; the next member is tried where one does not answer. */
export class EtcdClient implements Etcd, Disposable {
  readonly #endpoints: readonly string[];
  readonly #tls: TlsFiles | undefined;
  #at = 0;
  #channel: Promise<Channel> | undefined;
  #closed = false;

  /** `endpoints` as `https://192.0.2.1:2379`. With `tls` all are https. Throws USAGE. */
  constructor(endpoints: readonly string[], tls?: TlsFiles) {
    const wrong = endpoints.find((one) => !/^https?:\/\/[^/]+:\d+$/.test(one));
    if (wrong !== undefined || endpoints.length === 0)
      throw new Fault("USAGE", `${JSON.stringify(wrong ?? "")} is no address of etcd: write https://HOST:PORT`);
    const plain = tls === undefined ? undefined : endpoints.find((one) => one.startsWith("http:"));
    if (plain !== undefined)
      throw new Fault("USAGE", `${plain} uses no certificates, and some were given: write https://HOST:PORT`);
    this.#endpoints = endpoints;
    this.#tls = tls;
  }

  async read<const T extends readonly Range[]>(...ranges: T): Promise<Snapshot<T>> {
    const reply = readTxn(await this.#call("KV/Txn", txnRequest([], [], ranges), { again: true }));
    const lists = ranges.map((_, at) => reply.ranges[at] ?? []);
    if (!hasLengthOf(ranges, lists)) throw new Fault("ETCD_REFUSED", "etcd's reply has not every range");
    return { revision: reply.revision, lists };
  }

  async commit(conditions: readonly Condition[], changes: readonly Change[]): Promise<Committed> {
    const reply = readTxn(await this.#call("KV/Txn", txnRequest(conditions, changes), { again: false }));
    return { done: reply.succeeded, revision: reply.revision };
  }

  async grant(seconds: number): Promise<bigint> {
    return readGrant(await this.#call("Lease/LeaseGrant", grantRequest(seconds), { again: true }));
  }

  async keepAlive(lease: bigint): Promise<boolean> {
    return readKeepAlive(await this.#call("Lease/LeaseKeepAlive", leaseRequest(lease), { again: true })) > 0;
  }

  async revoke(lease: bigint): Promise<void> {
    await this.#call("Lease/LeaseRevoke", leaseRequest(lease), { again: true });
  }

  async *watch(range: Range, from: number, signal: AbortSignal): AsyncGenerator<readonly KeyEvent[], void, void> {
    let channel: Channel | undefined;
    try {
      channel = await this.#connected();
      for await (const bytes of channel.stream("Watch/Watch", watchRequest(range, from), signal)) {
        const reply = readWatch(bytes);
        if (reply.compacted > 0) throw new Compacted(`etcd has no events before revision ${reply.compacted}`);
        if (reply.cancelled !== undefined) throw new Fault("ETCD_REFUSED", `etcd ended the watch: ${reply.cancelled}`);
        yield reply.events;
      }
    } catch (error) {
      throw this.#faultOf(error, channel);
    }
  }

  /** `again`: to make the call twice does no harm, so it is made on each member until one answers. */
  async #call(method: string, message: Buffer, { again }: { readonly again: boolean }): Promise<Buffer> {
    for (let tries = again ? this.#endpoints.length : 1; ; tries--) {
      let channel: Channel | undefined;
      try {
        channel = await this.#connected();
        return await channel.call(method, message, CALL_MS);
      } catch (error) {
        const fault = this.#faultOf(error, channel);
        if (tries <= 1 || !isUnreachable(fault)) throw fault;
      }
    }
  }

  /**
   * The open connection; else one to the first member that answers. Calls at the same time share it: a second one would
   * never be closed, and keep the process alive.
   */
  async #connected(): Promise<Channel> {
    const shared = this.#channel;
    const open = await shared;
    if (open !== undefined && !open.closed) return open;
    if (this.#closed) throw new CallFailed(UNAVAILABLE, "the client is closed");
    if (this.#channel === undefined || this.#channel === shared) {
      const opening = this.#connect();
      this.#channel = opening;
      opening.catch(() => {
        if (this.#channel === opening) this.#channel = undefined;
      });
    }
    return await this.#channel;
  }

  async #connect(): Promise<Channel> {
    const reasons: string[] = [];
    for (const _ of this.#endpoints) {
      const endpoint = this.#endpoints[this.#at % this.#endpoints.length] ?? "";
      try {
        return await Channel.open(endpoint, this.#tls);
      } catch (error) {
        if (!(error instanceof CallFailed)) throw error;
        reasons.push(error.message);
        this.#at++;
      }
    }
    throw new CallFailed(UNAVAILABLE, reasons.join("; "));
  }

  /** The error as the callers know it. A member that cannot serve is left: the next call goes to another one. */
  #faultOf(error: unknown, channel: Channel | undefined): unknown {
    if (!(error instanceof CallFailed)) return error;
    if (error.status === PERMISSION_DENIED)
      return new Fault("ETCD_DENIED", `our user of etcd does not have the right: ${error.message}`, { cause: error });
    if (error.status !== UNAVAILABLE && error.status !== DEADLINE_EXCEEDED)
      return new Fault("ETCD_REFUSED", `etcd refused: ${error.message}`, { cause: error });
    if (channel !== undefined && !channel.closed) this.#at++;
    channel?.[Symbol.dispose]();
    const where = this.#endpoints.join(", ");
    return new Fault("ETCD_UNREACHABLE", `etcd at ${where} does not answer: ${error.message}`, { cause: error });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    void this.#channel?.then(
      (channel) => channel[Symbol.dispose](),
      () => undefined,
    );
  }
}

function hasLengthOf<T extends readonly Range[]>(
  ranges: T,
  lists: readonly (readonly Entry[])[],
): lists is { readonly [At in keyof T]: readonly Entry[] } {
  return ranges.length === lists.length;
}

/** Makes changes without conditions, in as many transactions as it takes. */
export async function commitInParts(etcd: Etcd, changes: readonly Change[]): Promise<void> {
  for (let at = 0; at < changes.length; at += MOST_CHANGES) await etcd.commit([], changes.slice(at, at + MOST_CHANGES));
}

export function isUnreachable(error: unknown): boolean {
  return error instanceof Fault && error.code === "ETCD_UNREACHABLE";
}
