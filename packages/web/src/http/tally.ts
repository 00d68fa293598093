/** How many of something each address has, and all have together. */
export class Tally {
  readonly #perAddress: number;
  readonly #total: number;
  readonly #counts = new Map<string, number>();
  #all = 0;

  constructor(limits: { readonly perAddress: number; readonly total: number }) {
    this.#perAddress = limits.perAddress;
    this.#total = limits.total;
  }

  /** Takes one for an address, and returns what gives it back; undefined where a limit is reached. */
  take(address: string): (() => void) | undefined {
    const key = networkOf(address);
    const count = this.#counts.get(key) ?? 0;
    if (count >= this.#perAddress || this.#all >= this.#total) return undefined;
    this.#counts.set(key, count + 1);
    this.#all++;
    let isGiven = false;
    return () => {
      if (isGiven) return;
      isGiven = true;
      this.#all--;
      const left = (this.#counts.get(key) ?? 1) - 1;
      if (left === 0) this.#counts.delete(key);
      else this.#counts.set(key, left);
    };
  }

  get all(): number {
    return this.#all;
  }
}

/** One customer has 2⁶⁴ addresses of IPv6: they count as one. An empty address is a UNIX socket's. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = plain.split("%")[0]?.split("::") ?? [];
  const groups = head.split(":").filter((group) => group !== "");
  const rest = tail?.split(":").filter((group) => group !== "") ?? [];
  while (tail !== undefined && groups.length + rest.length < 8) groups.push("0");
  return [...groups, ...rest].slice(0, 4).join(":");
}
