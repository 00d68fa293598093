/** The ports on which programs of this host listen, from /proc/net: proc_pid_net(5). */
import { readFileSync } from "node:fs";
import type { PortRange } from "../model/ports.ts";

const LISTEN = "0A";
const UNCONNECTED = "07";
const FILES = [
  ["tcp", LISTEN],
  ["tcp6", LISTEN],
  ["udp", UNCONNECTED],
  ["udp6", UNCONNECTED],
] as const;

/**
 * Ports that are taken, sorted. Those that the kernel gives out by itself come and go, so they count only in the pools
 * and for TCP.
 */
export function busyPorts(pools: readonly PortRange[], folder = "/proc/net"): number[] {
  const [low = 32_768, high = 60_999] = numbersIn("/proc/sys/net/ipv4/ip_local_port_range");
  const isPooled = (port: number): boolean => pools.some(({ first, last }) => first <= port && port <= last);
  const found = new Set<number>();
  for (const [name, state] of FILES) {
    for (const port of portsIn(read(`${folder}/${name}`), state)) {
      if (state === LISTEN || port < low || port > high || isPooled(port)) found.add(port);
    }
  }
  return [...found].sort((one, other) => one - other);
}

/** The local ports in a table of sockets that are in this state. */
export function portsIn(table: string, wanted: string): number[] {
  return table.split("\n").flatMap((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.split(":")[1] ?? "", 16);
    return state === wanted && port > 0 ? [port] : [];
  });
}

function numbersIn(path: string): number[] {
  return read(path).trim().split(/\s+/).map(Number);
}

/** Empty where the kernel has no such protocol. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
