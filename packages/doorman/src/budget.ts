/**
 * How much more may be sent than was received, where the asker's address may be forged. Quake III, Bedrock and
 * Teeworlds 0.6 know no challenge for a status query, and no useful answer is as short as their query. So each network
 * has a budget for what an answer has beyond its query, and all networks together have one.
 */
import type { Answer } from "./protocol.ts";

/** Bytes beyond what was asked with. */
export interface BudgetLimits {
  /** For one network at once, and regained each second. */
  readonly burst: number;
  readonly perSecond: number;
  /** For all networks together. */
  readonly totalBurst: number;
  readonly totalPerSecond: number;
  /** How many networks are remembered. The one that asked longest ago is forgotten first. */
  readonly networks: number;
}

/** A few answers a second to a network, and some hundred to all. */
export const DEFAULT_BUDGET: BudgetLimits = {
  burst: 4096,
  perSecond: 512,
  totalBurst: 65_536,
  totalPerSecond: 32_768,
  networks: 4096,
};

interface Bucket {
  left: number;
  /** When `left` was right, in milliseconds. */
  at: number;
}

export class AnswerBudget {
  readonly #limits: BudgetLimits;
  /** The one used last is the last one. */
  readonly #networks = new Map<string, Bucket>();
  readonly #total: Bucket;

  constructor(limits: BudgetLimits = DEFAULT_BUDGET) {
    this.#limits = limits;
    this.#total = { left: limits.totalBurst, at: 0 };
  }

  /**
   * Whether this answer to a query of `asked` bytes may be sent; if so, takes it from the budget. Always, if it is
   * proven or no longer than the query. `network`: see {@link networkOf}. `now`: milliseconds of a clock that only goes
   * forward.
   */
  allows(network: string, asked: number, answer: Answer, now: number): boolean {
    const beyond = answer.bytes.length - asked;
    if (answer.proven || beyond <= 0) return true;
    const { burst, perSecond, totalBurst, totalPerSecond } = this.#limits;
    const own = this.#bucketOf(network, now);
    refill(own, burst, perSecond, now);
    refill(this.#total, totalBurst, totalPerSecond, now);
    if (own.left < beyond || this.#total.left < beyond) return false;
    own.left -= beyond;
    this.#total.left -= beyond;
    return true;
  }

  #bucketOf(network: string, now: number): Bucket {
    const bucket = this.#networks.get(network) ?? { left: this.#limits.burst, at: now };
    this.#networks.delete(network);
    this.#networks.set(network, bucket);
    for (const oldest of this.#networks.keys()) {
      if (this.#networks.size <= this.#limits.networks) break;
      this.#networks.delete(oldest);
    }
    return bucket;
  }
}

function refill(bucket: Bucket, most: number, perSecond: number, now: number): void {
  bucket.left = Math.min(most, bucket.left + (Math.max(0, now - bucket.at) / 1000) * perSecond);
  bucket.at = Math.max(bucket.at, now);
}

/** The network of an address: its first 24 bits in IPv4, also where it is mapped into IPv6, or 64 bits in IPv6. */
export function networkOf(address: string): string {
  const [, ipv4] = /^(?:::ffff:)?(\d+\.\d+\.\d+)\.\d+$/i.exec(address) ?? [];
  if (ipv4 !== undefined) return ipv4;
  const [before = "", after] = address.replace(/%.*$/, "").split("::");
  const groups = before === "" ? [] : before.split(":");
  // `::` stands for as many groups of zero as are missing.
  const tail = after === undefined || after === "" ? [] : after.split(":");
  const missing = after === undefined ? 0 : Math.max(0, 8 - groups.length - tail.length);
  const all = [...groups, ...Array.from({ length: missing }, () => "0"), ...tail];
  return all
    .slice(0, 4)
    .map((group) => (Number.parseInt(group, 16) || 0).toString(16))
    .join(":");
}
