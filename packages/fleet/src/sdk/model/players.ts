/** Who is connected, as a server tells by the SDK's player tracking. Pure. */
import { Refusal } from "../refusal.ts";

const MOST = 10_000;
const LONGEST_ID = 256;
/** Bytes of all ids: each watch of the server is told all of them. */
const MOST_BYTES = 256 * 1024;

export class Players {
  readonly #ids = new Set<string>();
  #capacity = 0;
  #bytes = 0;

  get ids(): string[] {
    return [...this.#ids];
  }

  get count(): number {
    return this.#ids.size;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Whether the server has used them. */
  get isUsed(): boolean {
    return this.#capacity > 0 || this.#ids.size > 0;
  }

  setCapacity(capacity: number): void {
    if (capacity < 0 || capacity > MOST) throw new Refusal("OUT_OF_RANGE", `capacity must be from 0 to ${MOST}`);
    this.#capacity = capacity;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** False: it was there already. */
  connect(id: string): boolean {
    if (id === "" || id.length > LONGEST_ID)
      throw new Refusal("INVALID_ARGUMENT", `playerID must have 1 to ${LONGEST_ID} characters`);
    if (this.#ids.has(id)) return false;
    if (this.#ids.size >= this.#capacity)
      throw new Refusal("OUT_OF_RANGE", `${this.#ids.size} players are connected, which is the capacity`);
    const bytes = Buffer.byteLength(id);
    if (this.#bytes + bytes > MOST_BYTES)
      throw new Refusal("RESOURCE_EXHAUSTED", `the ids of all players have ${MOST_BYTES / 1024} KiB at most`);
    this.#bytes += bytes;
    this.#ids.add(id);
    return true;
  }

  /** False: it was not there. */
  disconnect(id: string): boolean {
    if (!this.#ids.delete(id)) return false;
    this.#bytes -= Buffer.byteLength(id);
    return true;
  }
}
