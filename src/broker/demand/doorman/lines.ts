/** Sockets that are connected to a server that runs, for its doorman to ask it. The broker reads nothing from them. */
import { constants } from "node:os";
import { FdHandle } from "../../../fd.ts";
import type { Native } from "../../../native.ts";
import { type Address, encodeSockaddr, familyNumber, type InetAddress } from "../../../net/address.ts";
import { SOL_SOCKET } from "../../../net/socket-constants.ts";
import { type SocketKind, typeNumber } from "../../../net/transport.ts";

const { EINPROGRESS } = constants.errno;
const SO_LINGER = 13;
/** struct linger: on, for 0 s. A close ends the connection at once (socket(7)). */
const LINGER_NOT = new Uint8Array(Int32Array.of(1, 0).buffer);
/** What a server listens on beyond that is not asked. */
const MOST = 8;

export interface Lines {
  readonly fds: readonly FdHandle[];
  readonly kinds: readonly ("datagram" | "stream")[];
  /** Of the first stream. */
  readonly port: number;
}

/** Where a server listens. */
export interface Listening {
  readonly address: Address;
  readonly kind: SocketKind;
}

/** `isByTcp`: whether the protocol asks by TCP too. Where no socket can be connected there is none. */
export function connectLines(all: readonly Listening[], isByTcp: boolean, sys: Native): Lines {
  const fds: FdHandle[] = [];
  const kinds: ("datagram" | "stream")[] = [];
  let port = 0;
  for (const { address, kind } of all.slice(0, MOST)) {
    if (address.family === "unix" || kind === "seqpacket" || (kind === "stream" && !isByTcp)) continue;
    const handle = connectTo(address, kind, sys);
    if (handle === undefined) continue;
    fds.push(handle);
    kinds.push(kind);
    if (kind === "stream" && port === 0) ({ port } = address);
  }
  return { fds, kinds, port };
}

function connectTo(address: InetAddress, kind: "datagram" | "stream", sys: Native): FdHandle | undefined {
  const target = reachable(address);
  if (target === undefined) return undefined;
  const number = sys.socket(familyNumber(target), typeNumber(kind), 0);
  if (number < 0) return undefined;
  const handle = FdHandle.adopt(number, sys);
  // A connection that the server does not close ends with our close, and does not keep the server awake.
  if (kind === "stream") sys.setsockopt(number, SOL_SOCKET, SO_LINGER, LINGER_NOT);
  const connected = sys.connect(number, encodeSockaddr(target));
  if (connected >= 0 || connected === -EINPROGRESS) return handle;
  handle.close();
  return undefined;
}

/** Undefined where there is no single server: of a group, or of an interface that the address does not name. */
function reachable(address: InetAddress): InetAddress | undefined {
  const { family, host, port, scope } = address;
  if (scope !== undefined || /^(?:22[4-9]|2[3-5]\d)\.|^ff/i.test(host)) return undefined;
  if (host === "0.0.0.0") return { family, host: "127.0.0.1", port };
  return host === "::" ? { family, host: "::1", port } : address;
}
