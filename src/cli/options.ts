/** Options that several commands of `berth` have. */
import { Option } from "commander";
import { BerthError } from "../errors.ts";

/** `--socket PATH`: before the command's name or after it. */
export function socketOption(): Option {
  return new Option("--socket <path>", "the broker's socket; @name for an abstract one");
}

/** What {@link socketOption} gives. */
export interface SocketChoice {
  readonly socket?: string;
}

/** How long a command waits for the broker, in seconds, if `--timeout` does not say it. */
export const DEFAULT_TIMEOUT_SECONDS = 10;
const MAX_TIMEOUT_SECONDS = 86_400;

/** `--timeout SECONDS`: of a command that asks the broker. */
export function timeoutOption(what = "the broker", seconds: number = DEFAULT_TIMEOUT_SECONDS): Option {
  return new Option("--timeout <seconds>", `how long to wait for ${what} (default: ${seconds})`).argParser(readSeconds);
}

/** What {@link socketOption} and {@link timeoutOption} give. */
export interface BrokerChoice extends SocketChoice {
  readonly timeout?: number;
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS) return seconds;
  throw new BerthError(
    "USAGE",
    `--timeout ${text} is not a number of seconds above 0 and at most ${MAX_TIMEOUT_SECONDS}; write for example --timeout 5`,
  );
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
