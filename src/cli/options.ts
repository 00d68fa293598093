/** Options that several commands of `berth` have. */
import { Option } from "commander";

/** `--socket PATH`: before the command's name or after it. */
export function socketOption(): Option {
  return new Option("--socket <path>", "the broker's socket; @name for an abstract one");
}

/** What {@link socketOption} gives. */
export interface SocketChoice {
  readonly socket?: string;
}

/** `--json`. */
export function jsonOption(what: string): Option {
  return new Option("--json", `print ${what} as JSON, for programs`);
}

/** An option that may be repeated: `.argParser(collect)`. */
export function collect(value: string, list: readonly string[] = []): string[] {
  return [...list, value];
}

/** `--state DIR`: as berthd has it. */
export function stateOption(): Option {
  return new Option("--state <directory>", "the state folder (default: the running broker's)");
}

/** What {@link stateOption} gives. */
export interface StateChoice {
  readonly state?: string;
}

/** `--config DIR`, repeated: as berthd has it. */
export function configOption(): Option {
  return new Option("--config <directory>", "configuration folder, as of berthd; repeat for more").argParser(collect);
}

/** What {@link configOption} gives. */
export interface ConfigChoice {
  readonly config?: readonly string[];
}

/** `--force`. */
export function forceOption(though: string): Option {
  return new Option("--force", `do it ${though}`);
}
