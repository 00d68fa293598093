/** This machine, and whether its broker answers. */
import { readFileSync } from "node:fs";
import { hostname, networkInterfaces, totalmem } from "node:os";
import type { BerthRow, Host, Memory } from "../api/shapes.ts";
import { SPARK_POINTS } from "./known.ts";

export class HostFacts {
  readonly id: string;
  readonly zone: string = Intl.DateTimeFormat().resolvedOptions().timeZone;
  version: string | null = null;
  up: number | null = null;
  unreachableSince: number | null = null;
  nextTry: number | null = null;
  #memory: Memory | null = null;
  #memoryAt = Number.NEGATIVE_INFINITY;

  constructor(id: string) {
    this.id = id;
  }

  view(rows: readonly BerthRow[]): Host {
    if (performance.now() - this.#memoryAt > MEMORY_KEEP_MS) {
      this.#memoryAt = performance.now();
      this.#memory = memoryOfHost();
    }
    return {
      id: this.id,
      name: hostname(),
      version: this.version,
      up: this.up,
      memory: this.#memory,
      zone: this.zone,
      unreachableSince: this.unreachableSince,
      nextTry: this.nextTry,
      spark: sumOf(rows.map(({ spark }) => spark)),
    };
  }
}

/** In steps of 256 MiB: every smaller change would be sent to every page. */
const MEMORY_STEP: number = 256 * 2 ** 20;
const MEMORY_KEEP_MS = 10_000;

function memoryOfHost(): Memory | null {
  try {
    const available = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
    if (available === undefined) return null;
    return { used: Math.round((totalmem() - Number(available) * 1024) / MEMORY_STEP) * MEMORY_STEP, limit: totalmem() };
  } catch {
    return null;
  }
}

function sumOf(sparks: readonly (readonly (number | null)[])[]): (number | null)[] {
  return Array.from({ length: SPARK_POINTS }, (_, at) => {
    const values = sparks.flatMap((spark) => spark[at] ?? []);
    return values.length === 0 ? null : Math.round(values.reduce((sum, one) => sum + one, 0) * 10) / 10;
  });
}

/** The first address of this host that is neither loopback nor link-local; IPv4 first. */
export function ownAddress(): string | null {
  const all = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^(fe80|169\.254)/i.test(address));
  return (all.find(({ family }) => family === "IPv4") ?? all[0])?.address ?? null;
}
