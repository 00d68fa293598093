/**
 * Reads the configuration again, all or nothing. A problem that was there before is no reason to refuse: the berth has
 * it now, and has it afterwards. It remembers whether what is on disk is in force.
 */
import type { Drafts, LoadedConfig } from "../config/load.ts";
import { ConfigError, formatProblem, isSameProblem, type Problem } from "../config/toml/problem.ts";
import { BerthError } from "../errors.ts";
import type { Log } from "../log.ts";
import { applyConfiguration, decide, heldAs, readConfiguration } from "./configuration.ts";
import { lockState } from "./inherit.ts";
import type { BrokerParts, Foundation, Reloads } from "./parts.ts";

/** The part of a configuration that is of no berth. */
export type Loaded = Pick<Drafts, "directories" | "general" | "warnings">;

export class Reloader implements Reloads {
  /** What was read last. */
  #loaded: Loaded;
  /** Set while the configuration on disk is not the one in force: the last reload was refused. */
  #isRefused = false;

  constructor(loaded: Loaded) {
    this.#loaded = loaded;
  }

  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Throws CONFIG_INVALID with every problem that is new; then nothing has changed. */
  reload(parts: BrokerParts): void {
    this.#isRefused = true;
    try {
      const drafts = readConfiguration(parts, (folder) => lockState(folder, parts.locks));
      const config = decide(drafts, held(parts), parts.roots);
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
      this.#isRefused = false;
    } finally {
      parts.options.onChange?.();
    }
  }
}

/** Reloads as the options of the broker say. */
export function reloadParts(parts: BrokerParts): void {
  const { onReload = (reload: () => void) => reload() } = parts.options;
  onReload(() => {
    if (parts.takeover.isUnderWay)
      throw new BerthError("BROKER_RUNNING", "another broker is taking over; it reads the configuration itself");
    parts.reloader.reload(parts);
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

function held({ berths }: Pick<Foundation, "berths">): Set<string> {
  return new Set(
    berths.list().flatMap(({ name, sockets }) => sockets.map(({ socket }) => heldAs(name, socket.listen))),
  );
}
