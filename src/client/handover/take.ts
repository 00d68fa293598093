/** The newcomer's part of a handover of connections: asks for them, waits for the note, and makes them Node's. */
import { Socket, type SocketConstructorOpts } from "node:net";
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { VarlinkClient } from "../../varlink/client.ts";
import { isObject } from "../../varlink/json.ts";
import type { WaitOptions } from "../../wait-options.ts";
import type { TenantDescriptor } from "../tenant-descriptor.ts";
import { descriptorNames, emptyFile, noteName, readNote, wantsName } from "./note.ts";

export interface TakeConnectionsOptions extends WaitOptions {
  /** Milliseconds to wait for a tenant that leaves nothing. Default: 5000. */
  readonly waitMs?: number;
}

export interface TakenConnection {
  /** Paused. Call `resume()` when its listeners are there, after `tenancy.ready()`. */
  readonly socket: Socket;
  /** What the earlier tenant's `stateOf` has said of it. */
  readonly state: Buffer;
}

export interface TakenConnections {
  readonly connections: readonly TakenConnection[];
  /** What the earlier tenant's `state` has said; empty without one. */
  readonly state: Buffer;
}

/** The parts of a tenancy that this needs. */
export interface Taker {
  readonly berth: string;
  readonly lease: string;
  stash(name: string, fd: FdHandle, options: WaitOptions): Promise<void>;
  unstash(name: string): Promise<void>;
  /** The descriptors as they are now, the caller's to close. */
  again(options: WaitOptions): Promise<readonly TenantDescriptor[]>;
  connect(signal: AbortSignal): Promise<VarlinkClient>;
}

const WAIT_MS = 5000;
const RETRY_MS = 100;

/** What the present tenant leaves for this newcomer. Nothing if there is none, or it does not answer in time. */
export async function takeConnections(taker: Taker, options: TakeConnectionsOptions): Promise<TakenConnections> {
  const { waitMs = WAIT_MS, signal } = options;
  using asks = emptyFile();
  await taker.stash(wantsName(taker.lease), asks, { signal });
  const late = AbortSignal.timeout(waitMs);
  const ended = signal === undefined ? late : AbortSignal.any([signal, late]);
  let answered = false;
  try {
    answered = await isAnswered(taker, ended);
  } catch (error) {
    signal?.throwIfAborted();
    if (!late.aborted) throw error;
  } finally {
    // The present tenant resumes what it has stopped. If it was answered, that must not happen.
    if (!answered) await taker.unstash(wantsName(taker.lease)).catch(() => undefined);
  }
  if (!answered) return NONE;
  const descriptors = await taker.again({ signal });
  try {
    return takeFrom(descriptors, noteName(taker.lease));
  } finally {
    closeAll(descriptors.map(({ handle }) => handle));
  }
}

const NONE: TakenConnections = { connections: [], state: Buffer.alloc(0) };

/** Whether there is a note for the newcomer. Waits while somebody else has the berth, also if the broker restarts. */
async function isAnswered({ berth, lease, connect }: Taker, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    try {
      using client = await connect(signal);
      for await (const { parameters } of client.stream("io.berthd.Broker.Watch", {}, { signal })) {
        const { berth: seen } = parameters;
        if (!isObject(seen) || seen["name"] !== berth) continue;
        if (descriptorNames(seen).includes(noteName(lease))) return true;
        if (seen["state"] !== "handover") return false;
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof BerthError)) throw error;
    }
    await setTimeout(RETRY_MS, undefined, { signal });
  }
}

function takeFrom(descriptors: readonly TenantDescriptor[], note: string): TakenConnections {
  const stash = new Map(descriptors.filter(({ kind }) => kind === "stash").map(({ name, handle }) => [name, handle]));
  const file = stash.get(note);
  if (file === undefined) return NONE;
  const { connections, state } = readNote(file.fd);
  const taken: TakenConnection[] = [];
  try {
    for (const one of connections) {
      const handle = stash.get(one.name);
      if (handle?.open !== true) continue;
      taken.push({ socket: connectionOn(handle, one.unread), state: Buffer.from(one.state) });
    }
  } catch (error) {
    for (const { socket } of taken) socket.destroy();
    throw error;
  }
  return { connections: taken, state: Buffer.from(state) };
}

/** A paused connection that owns the descriptor and begins with what was received before. */
function connectionOn(handle: FdHandle, unread: Uint8Array): Socket {
  // Node's own servers make paused connections by `pauseOnCreate`.
  const options: SocketConstructorOpts & { readonly pauseOnCreate: true } = {
    ...{ fd: handle.fd, readable: true, writable: true },
    pauseOnCreate: true,
  };
  const socket = new Socket(options);
  handle.steal(); // not before: it throws for what is no connection
  if (unread.length > 0) socket.unshift(unread);
  return socket;
}
