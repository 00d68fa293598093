/** The requests to berth-guard about what epolls have registered of a server's socket. Pure; as protocol.ts. */
import { encodeWords } from "./protocol.ts";

const FORGET = 6;
const CARRY = 7;

/** What became of the registrations of a socket. */
export interface CarriedRegistrations {
  readonly carried: number;
  readonly failed: number;
  /** The errno of the first that failed. */
  readonly error: number;
}

/** Comes with a socket, and pairs of an epoll's fdinfo and the epoll, which lose the socket under these numbers. */
export function encodeForget(id: number, numbers: readonly number[]): Uint8Array {
  return encodeWords(FORGET, id, ...numbers);
}

/** Comes with a socket, the one it replaces, and such pairs. */
export function encodeCarry(id: number): Uint8Array {
  return encodeWords(CARRY, id);
}

/** The reply to {@link encodeCarry}. */
export function decodeCarried(reply: Buffer): CarriedRegistrations {
  return { carried: reply.readInt32LE(4), failed: reply.readInt32LE(8), error: reply.readInt32LE(12) };
}
