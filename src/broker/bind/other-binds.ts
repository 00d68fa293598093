/** What a bind of an address that is not the berth's comes to: `server.other-binds`. Pure but for `kernelPorts`. */
import { readFileSync } from "node:fs";
import type { OtherBinds } from "../../config/keys/spec.ts";
import {
  type Address,
  formatAddress,
  formatListenAddress,
  type InetAddress,
  type ListenAddress,
} from "../../net/address.ts";
import { protocolName } from "../../net/transport.ts";
import { isLoopback, isWildcard } from "./bind-match.ts";

/** Ports that the kernel treats in a special way (ip(7)). */
export interface KernelPorts {
  /** The lowest port that needs no privilege. The broker must not bind a lower one for a server. */
  readonly firstFree: number;
  /** The lowest and the highest port that the kernel chooses by itself. */
  readonly ephemeral: readonly [number, number];
}

/**
 * `kernel`: the kernel carries out the call. `here`: the broker binds the server's own socket. `busy`: it fails with
 * EADDRINUSE, so that a program that takes random ports tries another one. `refused`: it fails with EACCES.
 */
export type OtherBind = "kernel" | "here" | "busy" | "refused";

export function decideOtherBind(otherBinds: OtherBinds, address: InetAddress, ports: () => KernelPorts): OtherBind {
  if (otherBinds === "allow") return "kernel";
  if (otherBinds === "refuse" || address.port < ports().firstFree) return "refused";
  if (otherBinds === "loopback") return isLoopback(address) ? "here" : "refused";
  otherBinds satisfies "ephemeral";
  const [lowest, highest] = ports().ephemeral;
  return address.port >= lowest && address.port <= highest ? "here" : "busy";
}

/** As the kernel has them now, in the broker's network namespace. */
export function kernelPorts(): KernelPorts {
  const numbers = (name: string): number[] =>
    readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim().split(/\s+/).map(Number);
  const [firstFree = 0] = numbers("ip_unprivileged_port_start");
  const [lowest = 0, highest = 0] = numbers("ip_local_port_range");
  return { firstFree, ephemeral: [lowest, highest] };
}

/** An address that a server asked for. */
export interface Asked extends ListenAddress {
  /** Of the server's socket: SO_PROTOCOL, and whether that is TCP or UDP. A berth holds no SCTP and no UDP-Lite. */
  readonly protocol: number;
  readonly isServed: boolean;
}

/** What a server asked for with a socket of its own. */
export function askedBy(
  own: Pick<Asked, "kind" | "protocol" | "isServed"> & { readonly v6only: boolean },
  address: Address,
): Asked {
  const { kind, protocol, isServed, v6only } = own;
  return {
    kind,
    address,
    protocol,
    isServed,
    dualStack: address.family === "ipv6" && address.host === "::" && !v6only,
  };
}

/** The address in words: `udp://*:629`; `UDP-Lite 0.0.0.0:629` and the like where a berth could not hold it. */
export function nameAsked(asked: Asked): string {
  return asked.isServed
    ? formatListenAddress(asked)
    : `${protocolName(asked.protocol)} ${formatAddress(asked.address)}`;
}

/**
 * Why the berth has nothing for it, and what to write. Another family of the same port is the usual mistake: Go, Java
 * and Node bind [::] for both families, which is `*` in a configuration.
 */
export function explainRefusal(asked: Asked, held: readonly ListenAddress[], otherBinds: OtherBinds): string {
  const has = held.map(formatListenAddress).join(", ") || "no sockets";
  const reason = `the berth has ${has} and other-binds = "${otherBinds}"`;
  if (!asked.isServed) return `${reason}; a berth holds TCP and UDP only`;
  const { kind, address } = asked;
  if (address.family === "unix" || !isWildcard(address)) return reason;
  const near = held.find(
    (one) => one.kind === kind && one.address.family !== "unix" && one.address.port === address.port,
  );
  if (near === undefined) return reason;
  return `${reason}; write ${formatListenAddress(asked)} in place of ${formatListenAddress(near)}`;
}
