/** Calls systemctl(1), and says how it ended. It knows no unit and no verb. */
import { execFile } from "node:child_process";

/** How a call ended. */
export interface Called {
  /** The exit status; {@link TIMED_OUT}, or -1 when it could not be run. */
  readonly status: number;
  readonly stdout: string;
  /** Why it failed: the first line that it wrote to standard error. */
  readonly problem: string;
}

export interface SystemctlOptions {
  /** systemctl, or the replacement that a test gives. */
  readonly program?: string;
  /** Arguments before those of the call, as `--user`. */
  readonly before?: readonly string[];
  /** Milliseconds that it may take. */
  readonly timeout?: number;
}

/** Not a status of systemctl: it took too long. */
export const TIMED_OUT = -2;
/** systemctl(1), EXIT STATUS: the unit does not exist. */
export const NO_SUCH_UNIT = 5;
/** A little more than systemd's default start timeout of 90 seconds. */
const TIMEOUT_MS = 100_000;

export function systemctl(
  args: readonly string[],
  { program = "systemctl", before = [], timeout = TIMEOUT_MS }: SystemctlOptions,
  told: (called: Called) => void,
): void {
  const options = { timeout, env: { ...process.env, LC_ALL: "C", SYSTEMD_COLORS: "0" } };
  execFile(program, [...before, ...args], options, (error, stdout, stderr) => {
    if (error === null) return told({ status: 0, stdout, problem: "" });
    if (error.killed === true) return told({ status: TIMED_OUT, stdout, problem: `it took longer than ${timeout} ms` });
    const [line = ""] = stderr.trim().split("\n");
    const status = typeof error.code === "number" ? error.code : -1;
    told({ status, stdout, problem: line === "" ? error.message : line });
  });
}
