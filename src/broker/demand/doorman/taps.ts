/**
 * What a doorman needs to see the logins that wait at a listening socket: a ring, and a program that copies into it.
 * The kernel lets only those with CAP_BPF make them. The doorman attaches the program, which any process may.
 */
import { BerthError, check, SysError } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import type { Log } from "../../../log.ts";
import type { Native } from "../../../native.ts";
import { arrivalProgram, RING_BYTES } from "../../../net/arrival-program.ts";
import { loadProgram } from "../../../net/bpf-load.ts";
import { MAP_TYPES } from "../../../net/bpf-program.ts";
import { socketCookie } from "../../../net/socket-queries.ts";

export class Taps implements Disposable {
  readonly #handles: FdHandle[] = [];

  /** For these listening sockets, which are borrowed. Throws SYSTEM_ERROR. */
  static open(listeners: readonly number[], sys: Native): Taps {
    const taps = new Taps();
    try {
      for (const listener of listeners) taps.#open(listener, sys);
      return taps;
    } catch (error) {
      taps[Symbol.dispose]();
      throw error;
    }
  }

  /** For each socket the ring and the program. Borrowed. */
  get fds(): number[] {
    return this.#handles.map(({ fd }) => fd);
  }

  /** Idempotent. */
  [Symbol.dispose](): void {
    for (const handle of this.#handles.splice(0)) handle.close();
  }

  #open(listener: number, sys: Native): void {
    const ring = FdHandle.adopt(check("bpf", sys.bpfMap(MAP_TYPES.ring, 0, 0, RING_BYTES)), sys);
    this.#handles.push(ring);
    const instructions = arrivalProgram(ring.fd, socketCookie(listener, sys));
    const program = loadProgram((log) => sys.bpfSocketFilter(instructions, log));
    this.#handles.push(FdHandle.adopt(check("bpf", program), sys));
  }
}

export interface TapMaker {
  /** For these listening sockets. Undefined if there can be none: each reason is logged once. */
  readonly open: (listeners: readonly number[]) => Taps | undefined;
}

export function tapMaker(sys: Native, log: Log): TapMaker {
  const told = new Set<string>();
  const open = (listeners: readonly number[]): Taps | undefined => {
    try {
      return Taps.open(listeners, sys);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      const remedy = error instanceof SysError && error.errnoName === "EPERM" ? "; it needs CAP_BPF" : "";
      const message = `logins are not held, so players are told to join again: ${error.message}${remedy}`;
      if (!told.has(message)) log("warning", message, { event: "doorman", reason: error.message });
      told.add(message);
      return undefined;
    }
  };
  return { open };
}
