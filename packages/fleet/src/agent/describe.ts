/** The host as its agent describes it: what the operator said, and what the kernel says. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import type { HostRecord } from "../model/host.ts";
import type { Assignment } from "../model/placement.ts";
import type { PortRange } from "../model/ports.ts";
import { socketPorts } from "../model/socket-ports.ts";
import type { ImageStock } from "./images/host-images.ts";
import { busyPorts } from "./listeners.ts";

/** What only the operator knows. */
export interface HostOptions {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly pools: readonly PortRange[];
  readonly memory: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly string[];
  readonly store?: string | undefined;
}

/** Ports of the host's own berths are not busy: the bookings have them. `stock` undefined: its images are not known. */
export function describeHost(
  { store, ...options }: HostOptions,
  own: readonly Assignment[],
  stock: ImageStock | undefined,
): HostRecord {
  const ours = new Set(own.flatMap(({ berth, config }) => socketPorts(config, berth).fixed));
  return {
    ...options,
    busy: busyPorts(options.pools).filter((port) => !ours.has(port)),
    cores: availableParallelism(),
    images: stock?.images ?? [],
    ...(stock !== undefined && { listsImages: true }),
    imageRoom: stock?.room ?? 0,
    ...(store !== undefined && { store }),
    bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
    version: berthdVersion(),
  };
}

function berthdVersion(): string {
  const { version }: { version: string } = JSON.parse(
    readFileSync(createRequire(import.meta.url).resolve("berthd/package.json"), "utf8"),
  );
  return version;
}
