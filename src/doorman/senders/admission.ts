/** Who may wake a server: anybody, or those of some networks; and nobody again and again. */
import { BlockList } from "node:net";
import type { WakeOn } from "../interfaces/messages.ts";
import type { Sender } from "./sender.ts";

/** A network may wake this user's servers so often within this time. */
export const MOST_WAKES = 6;
const WITHIN_MS = 60_000;
/** How many networks are remembered. */
const NETWORKS = 4096;

/** The times of the last wakes of each network, for all servers of a user. */
export class WakeLimit {
  readonly #times = new Map<string, readonly number[]>();

  /** Whether one of this network may wake now; if so, it counts. `now`: milliseconds of a clock that goes forward. */
  allows(network: string, now: number): boolean {
    const recent = (this.#times.get(network) ?? []).filter((time) => now - time < WITHIN_MS);
    if (recent.length >= MOST_WAKES) return false;
    this.#times.delete(network);
    this.#times.set(network, [...recent, now]);
    for (const oldest of this.#times.keys()) {
      if (this.#times.size <= NETWORKS) break;
      this.#times.delete(oldest);
    }
    return true;
  }
}

export interface AdmissionContext {
  readonly wake: WakeOn;
  readonly networks: readonly string[];
  readonly limit: WakeLimit;
  readonly networkOf: (address: string) => string;
}

export class Admission {
  readonly #context: AdmissionContext;
  readonly #known: BlockList | undefined;

  constructor(context: AdmissionContext) {
    this.#context = context;
    if (context.wake === "known-address") this.#known = listOf(context.networks);
  }

  /** Whether players of this address may wake the server at all. Undefined: as in {@link admits}. */
  knows(sender: Sender | undefined): boolean {
    return sender === undefined || this.#known?.check(sender.host, sender.family) !== false;
  }

  /** Whether somebody who joins may wake the server now. Undefined: a client on this host, by a UNIX socket. */
  admits(sender: Sender | undefined): boolean {
    if (sender === undefined) return true;
    const { limit, networkOf } = this.#context;
    if (!this.knows(sender)) return false;
    return limit.allows(networkOf(sender.host), performance.now());
  }
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const written of networks) {
    const [host = "", bits = ""] = written.split("/");
    list.addSubnet(host, Number(bits), host.includes(":") ? "ipv6" : "ipv4");
  }
  return list;
}
