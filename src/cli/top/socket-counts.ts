/**
 * What the kernel tells anybody about the sockets of a berth, in the lists of its network namespace: /proc/net/udp and
 * /proc/net/tcp, and those of IPv6 (proc_net(5)). Pure.
 */
import type { ListenAddress } from "../../net/address.ts";
import { asListed, type TableName, tableOf } from "../../net/proc-net.ts";

export interface SocketCounts {
  /** Established connections of its TCP sockets. */
  readonly connections: number;
  /** Connections that wait for accept(2). */
  readonly backlog: number;
  /** Bytes in the receive queues of its UDP sockets. */
  readonly queue: number;
  /** Datagrams that its UDP sockets have dropped, since they were opened. */
  readonly drops: number;
}

/** One socket in a list. */
interface Row {
  /** As the kernel writes it. */
  readonly local: string;
  readonly state: string;
  readonly received: number;
  readonly drops: number;
}

export type SocketTables = Readonly<Record<TableName, readonly Row[]>>;

const ESTABLISHED = "01";
const LISTEN = "0A";

/** `read` gives the text of a list, or nothing. */
export function readTables(read: (name: TableName) => string): SocketTables {
  const rows = (name: TableName): readonly Row[] => rowsOf(read(name));
  return { udp: rows("udp"), udp6: rows("udp6"), tcp: rows("tcp"), tcp6: rows("tcp6") };
}

function rowsOf(text: string): Row[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local, , state, queues, , , , , , , , drops] = line.trim().split(/\s+/);
      const received = Number.parseInt(queues?.split(":")[1] ?? "", 16);
      if (local === undefined || state === undefined || Number.isNaN(received)) return [];
      return [{ local, state, received, drops: Number(drops ?? 0) }];
    });
}

/** Of all these sockets together. UNIX sockets are in none of the lists. */
export function countSockets(sockets: readonly ListenAddress[], tables: SocketTables): SocketCounts {
  let [connections, backlog, queue, drops] = [0, 0, 0, 0];
  for (const { kind, address } of sockets) {
    if (address.family === "unix") continue;
    const own = asListed(address);
    const isWildcard = /^0+:/.test(own);
    const port = own.slice(own.indexOf(":"));
    for (const { local, state, received, drops: lost } of tables[tableOf(kind, address.family)]) {
      if (kind === "datagram") {
        if (local !== own) continue;
        queue += received;
        drops += lost;
      } else if (state === LISTEN && local === own) backlog += received;
      else if (state === ESTABLISHED && (local === own || (isWildcard && local.endsWith(port)))) connections++;
    }
  }
  return { connections, backlog, queue, drops };
}
