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
import { formatOrigin } from "./toml/problem.ts";

/** One address of one berth. */
interface Claim {
  readonly berth: string;
  readonly socket: SocketSpec;
  readonly listen: ListenAddress & { readonly origin: Origin };
  /** Its port, path or name, with what else makes two of them different. */
  readonly bucket: string;
  /** IP addresses it receives for; empty for a UNIX socket. */
  readonly hosts: readonly Host[];
}

interface Host {
  readonly family: "ipv4" | "ipv6";
  /** undefined: the wildcard. */
  readonly host: string | undefined;
}

/** A problem between two berths, at the one that gives way. */
export interface Conflict {
  /** The berth that must be changed. */
  readonly berth: string;
  readonly problem: Problem;
}

/** Whether a berth has this address already, with a living server. It keeps it then. */
export type HoldsAddress = (berth: string, listen: ListenAddress) => boolean;

/**
 * Every two addresses of all berths that cannot both be bound. The berth that holds an address keeps it, else the first
 * of `berths`. A berth with a conflict takes no address from berths without one. Of many equal addresses each is
 * reported against the first only. `crowded` is what {@link Crowds} finds of `berths`. Its time grows with the number
 * of addresses, not with its square.
 */
export function findConflicts(
  berths: readonly Pick<BerthSpec, "name" | "sockets">[],
  holds: HoldsAddress = () => false,
  crowded: ReadonlySet<string> = crowdsOf(berths),
): Conflict[] {
  const taken = new ClaimIndex();
  const conflicts: Conflict[] = [];
  if (crowded.size === 0) return conflicts;
  const all = berths.map((berth) => claimsOf(berth).filter(({ bucket }) => crowded.has(bucket)));
  const held = new Set(all.flat().filter(({ berth, listen }) => holds(berth, listen)));
  for (const claim of held) taken.add(claim);
  const losers: Claim[][] = [];
  for (const claims of all) {
    const fresh = claims.filter((claim) => !held.has(claim));
    if (excludeThemselves(fresh) || fresh.some((claim) => taken.rivalsOf(claim).length > 0)) losers.push(fresh);
    else for (const claim of fresh) taken.add(claim);
  }
  for (const claim of losers.flat()) conflicts.push(...place(claim, taken));
  return conflicts;
}

/**
 * Finds the buckets in which two addresses may exclude each other. Most have one address, or many that all differ and
 * none of which is a wildcard: then nothing has to be compared.
 */
export class Crowds {
  readonly #first = new Map<string, readonly Host[]>();
  readonly #hosts = new Map<string, Set<string>>();
  /** Those that were found so far. */
  readonly found: Set<string> = new Set();

  add({ sockets }: Pick<BerthSpec, "sockets">): void {
    for (const { listen, options } of sockets) for (const one of listen) this.#add(one, options.v6only);
  }

  #add(listen: ListenAddress, v6only: boolean): void {
    const bucket = bucketOf(listen);
    if (bucket === undefined || this.found.has(bucket)) return;
    const hosts = hostsOf(listen, v6only);
    const before = this.#first.get(bucket);
    if (before === undefined) this.#first.set(bucket, hosts);
    else if (hosts.length === 0) this.found.add(bucket);
    else {
      if (!this.#hosts.has(bucket)) this.#file(bucket, before);
      this.#file(bucket, hosts);
    }
  }

  #file(bucket: string, hosts: readonly Host[]): void {
    const known = this.#hosts.get(bucket) ?? new Set();
    this.#hosts.set(bucket, known);
    for (const { family, host } of hosts) {
      const text = `${family} ${host}`;
      if (host === undefined || known.has(text)) this.found.add(bucket);
      known.add(text);
    }
  }
}

function crowdsOf(berths: readonly Pick<BerthSpec, "sockets">[]): ReadonlySet<string> {
  const crowds = new Crowds();
  for (const berth of berths) crowds.add(berth);
  return crowds.found;
}

/** Whether a berth asks for addresses that it cannot have together. */
function excludeThemselves(claims: readonly Claim[]): boolean {
  const own = new ClaimIndex();
  return claims.length > 1 && claims.some((claim) => place(claim, own).length > 0);
}

/** Adds a claim, and returns its conflicts with earlier ones. */
function place(claim: Claim, taken: ClaimIndex): Conflict[] {
  const rivals = taken.rivalsOf(claim);
  const equal = rivals.find((other) => sameHosts(claim, other));
  if (equal === undefined) taken.add(claim);
  return (equal === undefined ? rivals : [equal]).map((other) => conflictOf(claim, other));
}

const ANY = "any";

/**
 * Claims by everything that decides whether the kernel lets two of them be (socket(7) on SO_REUSEPORT and
 * SO_BINDTODEVICE). Each is filed under its own values and under {@link ANY}, so that a look-up finds only rivals.
 */
class ClaimIndex {
  readonly #claims = new Map<string, Claim[]>();

  add(claim: Claim): void {
    const { bucket } = claim;
    if (claim.hosts.length === 0) return this.#put(bucket, claim);
    for (const { family, host = "*" } of claim.hosts)
      for (const at of [host, ANY])
        for (const device of [deviceOf(claim) ?? "", ANY])
          for (const reuse of [shares(claim), ANY]) this.#put(`${bucket} ${family} ${at} ${device} ${reuse}`, claim);
  }

  /** Those that the kernel refuses beside `claim`, at most {@link MAX_RIVALS}. */
  rivalsOf(claim: Claim): Claim[] {
    const { bucket } = claim;
    if (claim.hosts.length === 0) return (this.#claims.get(bucket) ?? []).slice(0, MAX_RIVALS);
    const rivals = new Set<Claim>();
    const device = deviceOf(claim);
    const devices = device === undefined ? [ANY] : [device, ""];
    const reuse = shares(claim) === "shared" ? "alone" : ANY;
    for (const { family, host } of claim.hosts)
      for (const at of host === undefined ? [ANY] : [host, "*"])
        for (const one of devices)
          for (const other of this.#claims.get(`${bucket} ${family} ${at} ${one} ${reuse}`) ?? []) {
            if (rivals.size >= MAX_RIVALS) return [...rivals];
            rivals.add(other);
          }
    return [...rivals];
  }

  #put(key: string, claim: Claim): void {
    const list = this.#claims.get(key);
    if (list === undefined) this.#claims.set(key, [claim]);
    else list.push(claim);
  }
}

/** Conflicts reported for one address. More of them help nobody. */
const MAX_RIVALS = 16;

function claimsOf({ name, sockets }: Pick<BerthSpec, "name" | "sockets">): Claim[] {
  return sockets.flatMap((socket) =>
    socket.listen.flatMap((listen) => {
      const bucket = bucketOf(listen);
      const hosts = hostsOf(listen, socket.options.v6only);
      return bucket === undefined ? [] : [{ berth: name, socket, listen, bucket, hosts }];
    }),
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

function shares({ socket }: Claim): "shared" | "alone" {
  return socket.options.reusePort === true ? "shared" : "alone";
}

/** The zone of a link-local address binds the socket to that interface, as `device` does (ipv6(7)). */
function deviceOf({ socket, listen: { address } }: Claim): string | undefined {
  return (address.family === "ipv6" ? address.scope : undefined) ?? socket.options.device;
}

function sameHosts(a: Claim, b: Claim): boolean {
  const identity = (claim: Claim): string => JSON.stringify([claim.hosts, deviceOf(claim), shares(claim)]);
  return identity(a) === identity(b);
}

function conflictOf(later: Claim, earlier: Claim): Conflict {
  const name = (claim: Claim): string =>
    `${formatListenAddress(claim.listen)} of ${claim.berth} (socket ${claim.socket.name})`;
  const message = `${name(later)} conflicts with ${name(earlier)}, ${formatOrigin(earlier.listen.origin)}`;
  const remedy =
    later.listen.address.family === "unix"
      ? "give one of them another path or name"
      : "give one of them another port or address, or set reuse-port = true on both to share it";
  const { file, line } = later.listen.origin;
  return { berth: later.berth, problem: { file, line, message, remedy } };
}
