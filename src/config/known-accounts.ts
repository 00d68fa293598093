/**
 * Users and groups, each looked up once in a reading of the configuration. An entry that is as it was in an earlier
 * reading is the same object, so ten thousand berths of one user share it.
 */
import type { Accounts, GroupEntry, PasswdEntry } from "../accounts.ts";

/** Whether a look-up gives the same again. */
export type Lookup = () => boolean;

export class KnownAccounts {
  readonly #passwd: Known<PasswdEntry>;
  readonly #group: Known<GroupEntry>;

  constructor(accounts: Accounts) {
    this.#passwd = new Known((user) => accounts.passwd(user));
    this.#group = new Known((group) => accounts.group(group));
  }

  /** Begins another reading: the system is asked again, once for each name. */
  begin(): void {
    this.#passwd.begin();
    this.#group.begin();
  }

  /** Looks up, and adds each look-up to `lookups`, for another reading. */
  noting(lookups: Lookup[]): Accounts {
    return {
      passwd: (user) => this.#passwd.note(user, lookups),
      group: (group) => this.#group.note(group, lookups),
    };
  }
}

class Known<T extends object> {
  readonly #ask: (name: string | number) => T | undefined;
  #before: ReadonlyMap<string | number, T | undefined> = new Map();
  #now = new Map<string | number, T | undefined>();
  /** One for each name and what it gave, however many berths have it. */
  #lookups = new Map<string | number, Lookup>();

  constructor(ask: (name: string | number) => T | undefined) {
    this.#ask = ask;
  }

  begin(): void {
    this.#before = this.#now;
    this.#now = new Map();
    this.#lookups = new Map();
  }

  get(name: string | number): T | undefined {
    if (this.#now.has(name)) return this.#now.get(name);
    const found = this.#ask(name);
    const before = this.#before.get(name);
    const entry = JSON.stringify(found) === JSON.stringify(before) ? before : found;
    this.#now.set(name, entry);
    return entry;
  }

  note(name: string | number, lookups: Lookup[]): T | undefined {
    const entry = this.get(name);
    const known = this.#lookups.get(name) ?? ((): boolean => this.get(name) === entry);
    this.#lookups.set(name, known);
    lookups.push(known);
    return entry;
  }
}
