/**
 * Reads the configuration again, all or nothing. A problem that was there before is no reason to refuse: the berth has
 * it now, and has it afterwards. It remembers whether what is on disk is in force.
 */
import type { HoldsAddress } from "../config/conflicts.ts";
import type { Drafts } from "../config/drafts.ts";
import type { LoadedConfig } from "../config/load.ts";
import { inSlices, toEnd } from "../config/steps.ts";
import { ConfigError, formatProblem, isSameProblem, type Problem } from "../config/toml/problem.ts";
import { BerthError } from "../errors.ts";
import type { Log } from "../log.ts";
import { applyConfiguration, decide, isSameAddress, readConfiguration } from "./configuration.ts";
import { lockState } from "./inherit.ts";
import type { BrokerParts, Foundation, Reloads } from "./parts.ts";

/** The part of a configuration that is of no berth. */
export type Loaded = Pick<Drafts, "directories" | "general" | "warnings">;

/** Milliseconds for which a reading keeps others waiting. */
const SLICE_MS = 5;

interface Reading {
  readonly drafts: Drafts;
  /** {@link Reloader.reload} calls before it began. */
  readonly reloads: number;
}

export class Reloader implements Reloads {
  /** What was read last. */
  #loaded: Loaded;
  /** Set while the configuration on disk is not the one in force: the last reload was refused. */
  #isRefused = false;
  /** How often {@link reload} was called. */
  #reloads = 0;
  #current: Promise<Reading> | undefined;
  #next: Promise<Reading> | undefined;

  constructor(loaded: Loaded) {
    this.#loaded = loaded;
  }

  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Reads all at once, and applies it. Throws CONFIG_INVALID with every new problem: then nothing has changed. */
  reload(parts: BrokerParts): void {
    this.#reloads++;
    this.#guarded(parts, () => this.#apply(parts, toEnd(this.#read(parts))));
  }

  /**
   * Reads in slices. Returns what applies it, and throws as {@link reload}. Those who ask during a reading share the
   * next one: a file that they have changed may have been read already.
   */
  async prepare(parts: BrokerParts): Promise<() => void> {
    const read = await this.#readInSlices(parts).catch((error: unknown) => ({ error }));
    return () =>
      this.#guarded(parts, () => {
        if ("error" in read) throw read.error;
        // If all was read at once meanwhile, and applied, these drafts may be older.
        this.#apply(parts, read.reloads === this.#reloads ? read.drafts : toEnd(this.#read(parts)));
      });
  }

  #readInSlices(parts: BrokerParts): Promise<Reading> {
    if (this.#current !== undefined) {
      const current = this.#current;
      const after = (): Promise<Reading> => {
        this.#next = undefined;
        return this.#readInSlices(parts);
      };
      this.#next ??= current.then(after, after);
      return this.#next;
    }
    const reloads = this.#reloads;
    this.#current = inSlices(this.#read(parts), SLICE_MS)
      .then((drafts) => ({ drafts, reloads }))
      .finally(() => {
        this.#current = undefined;
      });
    return this.#current;
  }

  #read(parts: BrokerParts): Generator<undefined, Drafts> {
    return readConfiguration(parts, (folder) => lockState(folder, parts.locks));
  }

  #guarded({ options }: BrokerParts, apply: () => void): void {
    this.#isRefused = true;
    try {
      apply();
      this.#isRefused = false;
    } finally {
      options.onChange?.();
    }
  }

  #apply(parts: BrokerParts, drafts: Drafts): void {
    const config = decide(drafts, holding(parts), parts.roots);
    const present = (berth: string): readonly Problem[] => parts.berths.get(berth)?.problems ?? [];
    const isKnown = (berth: string, problem: Problem): boolean =>
      present(berth).some((one) => isSameProblem(one, problem));
    const problems = [
      ...goneFrom(this.#loaded.directories, drafts.directories),
      ...config.general.filter((problem) => !this.#loaded.general.some((one) => isSameProblem(one, problem))),
      ...config.troubled.flatMap(({ name, problems }) => problems.filter((problem) => !isKnown(name, problem))),
    ];
    if (problems.length > 0) throw new ConfigError(problems);
    applyConfiguration(parts, config, ({ berth, problem }) => isKnown(berth, problem));
    sayGeneral(config, parts.log, this.#loaded);
    this.#loaded = { directories: drafts.directories, general: config.general, warnings: config.warnings };
  }
}

/** Reloads at once, as the options of the broker say. */
export function reloadParts(parts: BrokerParts): void {
  applyAs(parts, () => parts.reloader.reload(parts));
}

/** As {@link reloadParts}, but other calls are answered while the files are read. */
export async function reloadInSlices(parts: BrokerParts): Promise<void> {
  const apply = await parts.reloader.prepare(parts);
  await parts.takeover.over();
  // An address that is opened again must be free.
  await parts.onDemand.withdraw();
  try {
    if (!parts.listener.isClosed) applyAs(parts, apply);
  } finally {
    if (!parts.takeover.isUnderWay) parts.onDemand.readmit();
  }
}

function applyAs({ options, takeover }: BrokerParts, apply: () => void): void {
  const { onReload = (reload: () => void) => reload() } = options;
  onReload(() => {
    if (takeover.isUnderWay)
      throw new BerthError("BROKER_RUNNING", "another broker is taking over; it reads the configuration itself");
    apply();
  });
}

/** Logs the warnings and problems that are of no berth and were not there `before`. */
export function sayGeneral(
  { general, warnings }: Pick<LoadedConfig, "general" | "warnings">,
  log: Log,
  before: Pick<Loaded, "general" | "warnings"> = { general: [], warnings: [] },
): void {
  const say = (level: "error" | "warning", problems: readonly Problem[], known: readonly Problem[]): void => {
    for (const problem of problems)
      if (!known.some((one) => isSameProblem(one, problem)))
        log(level, formatProblem(problem).replace("\n ", ";"), { event: "configuration" });
  };
  say("error", general, before.general);
  say("warning", warnings, before.warnings);
}

/** A folder that was there and is not: most likely by mistake, so its berths are kept. */
function goneFrom(before: readonly string[], now: readonly string[]): Problem[] {
  return before
    .filter((directory) => !now.includes(directory))
    .map((file) => ({
      file,
      line: 1,
      message: "this folder was there when it was read last, and is gone",
      remedy: "put it back; an empty folder means that it has no berths",
    }));
}

/** Whether a berth holds an address now. */
function holding({ berths }: Pick<Foundation, "berths">): HoldsAddress {
  return (berth, listen) =>
    berths.get(berth)?.sockets.some(({ socket }) => isSameAddress(socket.listen, listen)) === true;
}
