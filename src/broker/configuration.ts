/** Reads the configured berths from folders or options, and applies them to the broker. */

import type { HoldsAddress } from "../config/conflicts.ts";
import type { Drafts } from "../config/drafts.ts";
import type { BerthSpec } from "../config/keys/spec.ts";
import { type LoadedConfig, settleConflicts } from "../config/load.ts";
import { ConfigError } from "../config/toml/problem.ts";
import { formatListenAddress, type ListenAddress } from "../net/address.ts";
import type { ApplyOptions } from "./berths/registry.ts";
import type { BrokerParts, Foundation } from "./parts.ts";
import { writeHeldNote } from "./restart/held-note.ts";
import type { PassedSocket } from "./sockets/passed-socket.ts";

/**
 * Reads the files, step by step, or takes the berths of the options. It opens nothing. `lockState` is called before the
 * first berth with a root makes the default state folder this broker's.
 */
export function* readConfiguration(
  { options, roots, reader }: Pick<Foundation, "options" | "roots" | "reader">,
  lockState: (folder: string) => void,
): Generator<undefined, Drafts> {
  const drafts = reader === undefined ? given(options.berths ?? []) : yield* reader.read();
  const specs = drafts.berths.map(({ draft }) => draft);
  const rootless = new Map(roots.problems(specs, lockState).map((one) => [one.berth, one]));
  if (rootless.size === 0) return drafts;
  const withRoots = drafts.berths.map((berth) => {
    const found = rootless.get(berth.name);
    return found === undefined ? berth : { ...berth, problems: [...berth.problems, found.problem] };
  });
  return { ...drafts, berths: withRoots };
}

/** Berths from the program. */
function given(specs: readonly BerthSpec[]): Drafts {
  const berths = specs.map((draft) => ({ name: draft.name, origin: draft.origin, problems: [], draft }));
  return { berths, general: [], warnings: [], directories: [] };
}

/** Decides conflicts: a berth keeps the address of a socket that is held, and the range that is reserved for it. */
export function decide(drafts: Drafts, holds: HoldsAddress, roots: Foundation["roots"]): LoadedConfig {
  let byName: ReadonlyMap<string, BerthSpec> | undefined;
  return settleConflicts(drafts, {
    address: holds,
    range: (berth, base) => {
      byName ??= new Map(drafts.berths.map(({ name, draft }) => [name, draft]));
      const draft = byName.get(berth);
      return draft !== undefined && roots.folder !== undefined && roots.rangeOf(draft)?.base === base;
    },
  });
}

/** Whether two addresses are written alike. */
export function isSameAddress(a: ListenAddress, b: ListenAddress): boolean {
  return a === b || formatListenAddress(a) === formatListenAddress(b);
}

/** The parts that hear of another configuration: the berths, what starts their servers, and what writes them down. */
type Configured = Pick<Foundation, "berths" | "mirror" | "locks" | "log"> &
  Partial<Pick<BrokerParts, "onDemand" | "recovery" | "interfaces" | "ledger">>;

/** What an earlier broker left: sockets of berths, and drafts of berths that are not configured but have a tenant. */
interface Inheritance {
  readonly offered?: readonly PassedSocket[];
  readonly absent?: readonly BerthSpec[];
}

/**
 * Applies the configuration, all or nothing but for what is tolerated. Owns `offered`, and returns the sockets of it
 * that no berth uses. Throws CONFIG_INVALID with every problem.
 */
export function applyConfiguration(
  { berths, mirror, onDemand, recovery, interfaces, ledger, locks, log }: Configured,
  config: Pick<LoadedConfig, "specs" | "troubled">,
  tolerates: ApplyOptions["tolerates"],
  { offered = [], absent = [] }: Inheritance = {},
): PassedSocket[] {
  const unclaimed: PassedSocket[] = [];
  onDemand?.pauseNow();
  const problems = berths.apply(config, {
    passed: offered,
    onUnclaimed: (offer) => unclaimed.push(offer),
    absent,
    ...(tolerates !== undefined && { tolerates }),
  });
  onDemand?.resume(berths.list());
  recovery?.update();
  interfaces?.update();
  // Also after a failure: some sockets may have been reopened.
  mirror?.keepAll();
  ledger?.keepAll(berths.all());
  noteHeld({ berths, locks, log });
  if (problems.length > 0) throw new ConfigError(problems);
  return unclaimed;
}

/** Notes which sockets this broker holds, its keeper and its doormen, for the next one. */
export function noteHeld({ berths, locks, log }: Pick<Foundation, "berths" | "locks" | "log">): void {
  const lock = locks.ofSocket;
  if (lock === undefined) return;
  try {
    const inodes = berths.inodes();
    if (inodes.length === 0) return; // a failed start holds nothing: the note of the last broker stays
    writeHeldNote(lock.fd, inodes, locks.keeper, locks.doormen);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    log("warning", `cannot note the held sockets in the lock file: ${error.message}`, { event: "ledger" });
  }
}
