/**
 * Which sockets a berth of the fleet may have. The broker binds them as root: a path of a UNIX socket can be that of a
 * service that every program asks (nscd), and a port below 1024 can be that of sshd or DNS while these are down.
 */
import { posix } from "node:path";
import type { JsonObject } from "../../model/fields.ts";
import type { PortRange } from "../../model/ports.ts";
import { addressesIn } from "../../model/socket-ports.ts";

/** What the operator of this host allows. */
export interface SocketRules {
  /** Folders below which UNIX sockets may have paths: absolute, normal, without a slash at the end. */
  readonly sockets: readonly string[];
  /** Ports below 1024 that a berth may have. */
  readonly ports: readonly PortRange[];
}

const FIRST_UNPRIVILEGED = 1024; // net.ipv4.ip_unprivileged_port_start, by default

const INET = /^(?:tcp|udp):\/\/(?:\[[0-9A-Fa-f:.]+(?:%[^\s%/:]{1,15})?\]|[\d.]+|\*):(\d{1,5})$/;
const UNIX = /^unix(?:-dgram|-seqpacket)?:\/\/([@/][^\0]+)$/;

/** Throws INVALID_RECORD if `sockets` is none of a berth file's. */
export function socketProblem(config: JsonObject, berth: string, rules: SocketRules): string | undefined {
  return addressesIn(config, berth)
    .map((address) => addressProblem(address, berth, rules))
    .find((problem) => problem !== undefined);
}

function addressProblem(written: string, berth: string, { sockets, ports }: SocketRules): string | undefined {
  const address = expand(written, berth);
  const port = INET.exec(address)?.[1];
  if (port !== undefined) {
    const isAllowed = ({ first, last }: PortRange): boolean => first <= Number(port) && Number(port) <= last;
    if (Number(port) === 0 || Number(port) >= FIRST_UNPRIVILEGED || ports.some(isAllowed)) return undefined;
    return `this host takes no port ${Number(port)} from the fleet; --allow-port ${Number(port)} of its agent allows it`;
  }
  const where = UNIX.exec(address)?.[1];
  if (where === undefined) return `${JSON.stringify(written)} is no address that a berth of the fleet can have`;
  if (where.startsWith("@")) return undefined;
  const isPlain = posix.normalize(where) === where && !where.endsWith("/");
  if (isPlain && sockets.some((folder) => where.startsWith(folder === "/" ? folder : `${folder}/`))) return undefined;
  return `this host takes no socket ${JSON.stringify(written)} from the fleet; --allow-socket ${JSON.stringify(posix.dirname(posix.normalize(where)))} of its agent allows it`;
}

/** As the broker expands it. What the broker does not know stays, with its percent sign, and matches no pattern. */
function expand(text: string, berth: string): string {
  return text.replace(/%(.?)/gsu, (whole, letter: string) => (letter === "n" ? berth : letter === "%" ? "%" : whole));
}
