/** Reads the configured berths from folders or options, and applies them to the broker. */
import { systemAccounts } from "../accounts.ts";
import type { BerthSpec } from "../config/keys/spec.ts";
import { loadConfig } from "../config/load.ts";
import type { Problem } from "../config/toml/problem.ts";
import { formatProblem } from "../config/toml/problem.ts";
import { BerthError } from "../errors.ts";
import type { BrokerParts, Foundation } from "./parts.ts";
import { writeHeldNote } from "./restart/held-note.ts";
import { type PassedSocket, socketInode } from "./sockets/passed-socket.ts";

/** Reads them and opens nothing. Throws CONFIG_INVALID with every problem in its message. */
export function readConfiguration({
  options: { config = [], berths },
  roots,
  sys,
}: Pick<Foundation, "options" | "roots" | "sys">): readonly BerthSpec[] {
  const { specs, problems } =
    berths === undefined
      ? loadConfig({ directories: config, accounts: systemAccounts(sys) })
      : { specs: berths, problems: [] };
  checkProblems(problems);
  checkProblems(roots.problems(specs));
  return specs;
}

/** The parts that hear of another configuration: the berths, what starts their servers, and what writes them down. */
type Configured = Pick<Foundation, "berths" | "mirror" | "locks" | "log"> &
  Partial<Pick<BrokerParts, "onDemand" | "ledger">>;

/**
 * Applies the configuration, all or nothing. Owns `offered`, and returns the sockets of it that no berth uses. Throws
 * CONFIG_INVALID with every problem.
 */
export function applyConfiguration(
  { berths, mirror, onDemand, ledger, locks, log }: Configured,
  specs: readonly BerthSpec[],
  offered: readonly PassedSocket[] = [],
): PassedSocket[] {
  const unclaimed: PassedSocket[] = [];
  onDemand?.pause();
  const problems = berths.apply(specs, offered, (offer) => unclaimed.push(offer));
  onDemand?.resume(berths.list());
  // Also after a failure: some sockets may have been reopened.
  mirror?.keepAll();
  ledger?.keepAll(berths.list());
  noteHeld({ berths, locks, log });
  checkProblems(problems);
  return unclaimed;
}

/** Notes which sockets this broker holds, for the case that the next one finds no record of leases. */
export function noteHeld({ berths, locks, log }: Pick<Foundation, "berths" | "locks" | "log">): void {
  const lock = locks.ofSocket;
  if (lock === undefined) return;
  try {
    const sockets = berths.list().flatMap((berth) => berth.sockets);
    if (sockets.length === 0) return; // a failed start holds nothing: the note of the last broker stays
    writeHeldNote(
      lock.fd,
      sockets.map(({ socket }) => socketInode(socket.fd)),
    );
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    log("warning", `cannot note the held sockets in the lock file: ${error.message}`, { event: "ledger" });
  }
}

/** Throws CONFIG_INVALID if there are any. */
function checkProblems(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  throw new BerthError("CONFIG_INVALID", `the configuration has ${count}:\n${problems.map(formatProblem).join("\n")}`);
}
