/** The ports in a berth's addresses: which the berth names, and which it leaves to the fleet. */
import {
  Fields,
  invalid,
  isTable,
  type Json,
  type JsonObject,
  jsonObject,
  list,
  type Reader,
  table,
} from "./fields.ts";
import { socketName } from "./names.ts";
import { port } from "./ports.ts";

export interface SocketPorts {
  /** Sockets with an address of port 0, sorted: each gets one port of the host's pools. */
  readonly drawn: readonly string[];
  /** Ports that addresses name, sorted, each once. */
  readonly fixed: readonly number[];
}

/** Paths and abstract names have no port. */
const INET = /^((?:tcp|udp):\/\/.*):(\d{1,5})$/;

const address: Reader<string> = (value, at) => {
  if (typeof value === "string") return value;
  throw invalid(at, 'must be an address, as "udp://0.0.0.0:0"');
};

/** The addresses of all sockets, as they are written. Throws INVALID_RECORD if `sockets` is none of a berth file's. */
export function addressesIn(berth: JsonObject, at: string): readonly string[] {
  socketPorts(berth, at);
  const sockets = new Fields(berth, at).or("sockets", table(socketName, jsonObject), {});
  return Object.entries(sockets).flatMap(([name, socket]) => new Fields(socket, name).get("listen", list(address)));
}

/** Throws INVALID_RECORD if `sockets` is none of a berth file's. */
export function socketPorts(berth: JsonObject, at: string): SocketPorts {
  const sockets = new Fields(berth, at).or("sockets", table(socketName, jsonObject), {});
  const drawn: string[] = [];
  const fixed = new Set<number>();
  for (const [name, socket] of Object.entries(sockets)) {
    const where = `${at}: sockets.${name}`;
    const ports = new Fields(socket, where).get("listen", list(address)).flatMap((one) => INET.exec(one)?.[2] ?? []);
    if (ports.some((one) => Number(one) === 0)) drawn.push(name);
    for (const one of ports) if (Number(one) !== 0) fixed.add(port(Number(one), `${where}: listen`));
  }
  return { drawn: drawn.sort(), fixed: [...fixed].sort((one, other) => one - other) };
}

/** The berth file with the ports that were drawn, by socket, in place of port 0. */
export function withPorts(berth: JsonObject, ports: Readonly<Record<string, number>>): JsonObject {
  const { sockets } = berth;
  if (!isTable(sockets)) return berth;
  const filled = Object.entries(sockets).map(([name, socket]): [string, Json] => {
    const drawn = ports[name];
    if (drawn === undefined || !isTable(socket) || !Array.isArray(socket["listen"])) return [name, socket];
    const listen = socket["listen"].map((one: Json) =>
      typeof one === "string" && Number(INET.exec(one)?.[2] ?? 1) === 0 ? one.replace(INET, `$1:${drawn}`) : one,
    );
    return [name, { ...socket, listen }];
  });
  return { ...berth, sockets: Object.fromEntries(filled) };
}
