/** Asking a server that runs how many play. As the protocols, an inquiry has no socket and no clock. */

/** One inquiry of one server. */
export interface Inquiry {
  /**
   * What to send now: datagrams, or bytes of a stream. Datagrams may be lost, so send them again while nothing comes.
   */
  readonly asks: readonly Uint8Array[];
  /** How many play, as far as it is known. Bots that the server tells apart do not count. */
  readonly players: number | undefined;
  /** Whether no more is to be learnt. */
  readonly isOver: boolean;
  /**
   * Takes a datagram of the server, or bytes of a stream in any pieces; keeps a bounded number of them. True if `asks`
   * has changed. Never throws.
   */
  feed(bytes: Uint8Array): boolean;
}

/** More than any server has. A greater number is no answer. */
export const MOST_PLAYERS = 1_000_000;

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MOST_PLAYERS;
}

/** A count in decimal digits. */
export function readCount(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,7}$/.test(text)) return undefined;
  const value = Number(text);
  return isCount(value) ? value : undefined;
}

/** An inquiry by datagrams: what it asks, and what it has learnt. */
export abstract class DatagramInquiry implements Inquiry {
  asks: readonly Uint8Array[];
  players: number | undefined;
  isOver = false;

  constructor(...asks: readonly Uint8Array[]) {
    this.asks = asks;
  }

  feed(packet: Uint8Array): boolean {
    if (this.isOver) return false;
    const before = this.asks;
    this.read(packet);
    return this.asks !== before;
  }

  protected abstract read(packet: Uint8Array): void;

  protected end(players: number | undefined): void {
    if (players === undefined) return;
    this.players = players;
    this.isOver = true;
  }
}
