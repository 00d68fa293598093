/** The descriptors of a berth, as a reply to Acquire brings them. */
import { BerthError } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import type { SocketKind } from "../net/transport.ts";
import type { Reply } from "../varlink/client.ts";
import { isObject } from "../varlink/json.ts";

/** One descriptor of the berth; the tenancy owns `handle`. */
export interface TenantDescriptor {
  readonly name: string;
  readonly kind: SocketKind | "root" | "stash";
  /** The address of a socket, as in the configuration: `udp://0.0.0.0:27960`. */
  readonly address: string | undefined;
  readonly handle: FdHandle;
}

/** Matches the descriptions of a reply with the fds that came with it. All of them are closed if it does not hold. */
export function readGranted(reply: Reply): { lease: string; descriptors: TenantDescriptor[] } {
  try {
    const { lease, descriptors } = reply.parameters;
    if (typeof lease !== "string") throw malformed("lease");
    if (!Array.isArray(descriptors) || descriptors.length !== reply.fds.length) throw malformed("descriptors");
    const read = descriptors.map((entry: unknown) => readDescriptor(entry, reply));
    if (new Set(read.map(({ handle }) => handle)).size !== read.length) throw malformed("descriptors");
    return { lease, descriptors: read };
  } catch (error) {
    reply[Symbol.dispose]();
    throw error;
  }
}

function readDescriptor(entry: unknown, reply: Reply): TenantDescriptor {
  if (!isObject(entry)) throw malformed("descriptors");
  const { name, kind, address, index } = entry;
  const handle = typeof index === "number" ? reply.fds[index] : undefined;
  if (typeof name !== "string" || !isKind(kind) || handle === undefined) throw malformed("descriptors");
  return { name, kind, address: typeof address === "string" ? address : undefined, handle };
}

function isKind(kind: unknown): kind is TenantDescriptor["kind"] {
  return kind === "stream" || kind === "datagram" || kind === "seqpacket" || kind === "root" || kind === "stash";
}

function malformed(what: string): BerthError {
  return new BerthError("PROTOCOL_ERROR", `the broker's reply has no usable ${what}; is it a berthd of this version?`);
}
