/**
 * The service manager's watchdog, sd_watchdog_enabled(3). This program reports regularly that it is healthy, from the
 * event loop. If the reports stop, the manager kills the program and restarts it.
 */
import { BerthError } from "../errors.ts";
import type { Notify } from "./notify.ts";

/**
 * The longest time between two reports, in milliseconds; undefined if the manager does not watch this process.
 * Throws USAGE when the variables are not numbers.
 */
export function watchdogInterval(env: NodeJS.ProcessEnv, pid: number = process.pid): number | undefined {
  const text = env["WATCHDOG_USEC"];
  if (text === undefined) return undefined;
  const forPid = env["WATCHDOG_PID"];
  if (!isPositive(text))
    throw new BerthError("USAGE", `WATCHDOG_USEC is "${text}", which is not a number of microseconds`);
  if (forPid !== undefined && !isPositive(forPid))
    throw new BerthError("USAGE", `WATCHDOG_PID is "${forPid}", which is not a process id`);
  return forPid === undefined || Number(forPid) === pid ? Number(text) / 1000 : undefined;
}

/** Reports to the manager twice per interval while `healthy()` returns true. Dispose to stop. */
export function startWatchdog(interval: number, healthy: () => boolean, notify: Notify): Disposable {
  const timer = setInterval(
    () => {
      if (healthy()) notify("WATCHDOG=1");
    },
    Math.max(1, interval / 2),
  ).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function isPositive(text: string): boolean {
  return /^[0-9]{1,15}$/.test(text) && Number(text) > 0;
}
