/** Reads the configured berths from folders or options, and applies them to the broker. */
import { systemAccounts } from "../accounts.ts";
import type { BerthSpec } from "../config/keys/spec.ts";
import { type Drafts, type LoadedConfig, readDrafts, settleConflicts } from "../config/load.ts";
import { ConfigError } from "../config/toml/problem.ts";
import { formatListenAddress, type ListenAddress } from "../net/address.ts";
import type { ApplyOptions } from "./berths/registry.ts";
import type { BrokerParts, Foundation } from "./parts.ts";
import { writeHeldNote } from "./restart/held-note.ts";
import type { PassedSocket } from "./sockets/passed-socket.ts";

/**
 * Reads the files, or takes the berths of the options. It opens nothing. `lockState` is called before the first berth
 * with a root makes the default state folder this broker's.
 */
export function readConfiguration(
  { options, roots, sys }: Pick<Foundation, "options" | "roots" | "sys">,
  lockState: (folder: string) => void,
): Drafts {
  const { config = [], berths } = options;
  const drafts =
    berths === undefined
      ? readDrafts({ directories: config, accounts: systemAccounts(sys) })
      : {
          berths: berths.map((draft) => ({ name: draft.name, origin: draft.origin, problems: [], draft })),
          general: [],
          warnings: [],
          directories: [],
        };
  const specs = drafts.berths.map(({ draft }) => draft);
  const rootless = new Map(roots.problems(specs, lockState).map((one) => [one.berth, one]));
  if (rootless.size === 0) return drafts;
  const withRoots = drafts.berths.map((berth) => {
    const found = rootless.get(berth.name);
    return found === undefined ? berth : { ...berth, problems: [...berth.problems, found.problem] };
  });
  return { ...drafts, berths: withRoots };
}

/**
 * Decides conflicts: a berth keeps the address of a socket that is held, and the range that is reserved for it.
 * `sockets` tells them as {@link heldAs} does.
 */
export function decide(drafts: Drafts, sockets: ReadonlySet<string>, roots: Foundation["roots"]): LoadedConfig {
  const byName = new Map(drafts.berths.map(({ name, draft }) => [name, draft]));
  return settleConflicts(drafts, {
    address: (berth, listen) => sockets.has(heldAs(berth, listen)),
    range: (berth, base) => {
      const draft = byName.get(berth);
      return draft !== undefined && roots.folder !== undefined && roots.rangeOf(draft)?.base === base;
    },
  });
}

/** A berth and an address that it holds, as one text. */
export function heldAs(berth: string, listen: ListenAddress): string {
  return `${berth} ${formatListenAddress(listen)}`;
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
  onDemand?.pause();
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

/** Notes which sockets this broker holds, and its keeper, for the next one. */
export function noteHeld({ berths, locks, log }: Pick<Foundation, "berths" | "locks" | "log">): void {
  const lock = locks.ofSocket;
  if (lock === undefined) return;
  try {
    const inodes = berths.inodes();
    if (inodes.length === 0) return; // a failed start holds nothing: the note of the last broker stays
    writeHeldNote(lock.fd, inodes, locks.keeper);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    log("warning", `cannot note the held sockets in the lock file: ${error.message}`, { event: "ledger" });
  }
}
