/**
 * Finds addresses that the kernel would not bind together, before anything is bound. Pure: it cannot see that two paths
 * lead to one directory, or that another program holds a port. The rules, measured on Linux 6.18:
 * a tcp port and a udp port of one number do not conflict; an abstract name can be bound once for each socket type
 * (unix(7) does not say so); a path can be bound once, whatever the type.
 */
import { normalize } from "node:path";
import { formatListenAddress, type InetAddress, type ListenAddress, mappedIPv4 } from "../net/address.ts";
import type { BerthSpec, SocketSpec } from "./keys/spec.ts";
import type { Origin, Problem } from "./toml/problem.ts";
import { formatOrigin, ProblemList } from "./toml/problem.ts";

/** One address of one berth. */
interface Claim {
  readonly berth: string;
  readonly socket: SocketSpec;
  readonly listen: ListenAddress & { readonly origin: Origin };
  /** IP addresses it receives for; empty for a UNIX socket. */
  readonly hosts: readonly Host[];
}

interface Host {
  readonly family: "ipv4" | "ipv6";
  /** undefined: the wildcard. */
  readonly host: string | undefined;
}

/**
 * Every two addresses of all berths that cannot both be bound. The problem is reported at the later one and names the
 * earlier. Of many equal addresses each is reported against the first only.
 */
export function findConflicts(specs: readonly Pick<BerthSpec, "name" | "sockets">[]): Problem[] {
  const problems = new ProblemList();
  // Only claims in the same bucket can meet: the same protocol and port, path or name.
  const buckets = new Map<string, Claim[]>();
  for (const claim of specs.flatMap(claimsOf)) {
    const key = bucketOf(claim.listen);
    if (key === undefined) continue;
    const earlier = buckets.get(key) ?? [];
    buckets.set(key, earlier);
    const rivals = earlier.filter((other) => excludes(claim, other));
    const equal = rivals.find((other) => sameHosts(claim, other));
    if (equal === undefined) earlier.push(claim);
    for (const other of equal === undefined ? rivals : [equal]) reportConflict(claim, other, problems);
  }
  return problems.sorted();
}

function claimsOf({ name, sockets }: Pick<BerthSpec, "name" | "sockets">): Claim[] {
  return sockets.flatMap((socket) =>
    socket.listen.map((listen) => ({ berth: name, socket, listen, hosts: hostsOf(listen, socket.options.v6only) })),
  );
}

function bucketOf({ kind, address }: ListenAddress): string | undefined {
  // For port 0 the kernel picks a free port each time.
  if (address.family !== "unix") return address.port === 0 ? undefined : `${kind} ${address.port}`;
  return address.abstract ? `${kind} @${address.path}` : normalize(address.path);
}

function hostsOf({ address, dualStack }: ListenAddress, v6only: boolean): Host[] {
  if (address.family === "unix") return [];
  if (address.family === "ipv4") return [host("ipv4", address.host)];
  const mapped = mappedIPv4(address.host);
  if (mapped !== undefined) return [host("ipv4", mapped)];
  const isDual = address.host === "::" && (dualStack || !v6only);
  return isDual ? [host("ipv6", "::"), host("ipv4", "0.0.0.0")] : [host("ipv6", address.host)];
}

function host(family: InetAddress["family"], text: string): Host {
  return { family, host: text === "::" || text === "0.0.0.0" ? undefined : text };
}

/**
 * Whether the kernel refuses the second of two claims in one bucket (socket(7) on SO_REUSEPORT and SO_BINDTODEVICE).
 */
function excludes(a: Claim, b: Claim): boolean {
  if (a.listen.address.family === "unix") return true;
  if (a.socket.options.reusePort === true && b.socket.options.reusePort === true) return false;
  const [deviceA, deviceB] = [deviceOf(a), deviceOf(b)];
  if (deviceA !== undefined && deviceB !== undefined && deviceA !== deviceB) return false;
  return a.hosts.some((x) =>
    b.hosts.some((y) => x.family === y.family && (x.host === undefined || y.host === undefined || x.host === y.host)),
  );
}

/** The zone of a link-local address binds the socket to that interface, as `device` does (ipv6(7)). */
function deviceOf({ socket, listen: { address } }: Claim): string | undefined {
  return (address.family === "ipv6" ? address.scope : undefined) ?? socket.options.device;
}

function sameHosts(a: Claim, b: Claim): boolean {
  const identity = (claim: Claim): string =>
    JSON.stringify([claim.hosts, deviceOf(claim), claim.socket.options.reusePort === true]);
  return identity(a) === identity(b);
}

function reportConflict(later: Claim, earlier: Claim, problems: ProblemList): void {
  const name = (claim: Claim): string =>
    `${formatListenAddress(claim.listen)} of ${claim.berth} (socket ${claim.socket.name})`;
  const message = `${name(later)} conflicts with ${name(earlier)}, ${formatOrigin(earlier.listen.origin)}`;
  const remedy =
    later.listen.address.family === "unix"
      ? "give one of them another path or name"
      : "give one of them another port or address, or set reuse-port = true on both to share it";
  problems.report(later.listen.origin, message, remedy);
}
