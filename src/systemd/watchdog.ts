/**
 * The service manager's watchdog, sd_watchdog_enabled(3): as long as the event loop turns and the program finds itself
 * able to work, it is told so; when it is not, the manager ends the program and starts it again.
 */
import { BerthError } from "../errors.ts";
import type { Notify } from "./notify.ts";

/**
 * Milliseconds within which the manager wants to hear of this process; undefined when it does not watch it. Throws
 * USAGE when the variables are no numbers.
 */
export function watchdogInterval(env: NodeJS.ProcessEnv, pid: number = process.pid): number | undefined {
  const text = env["WATCHDOG_USEC"];
  if (text === undefined) return undefined;
  const forPid = env["WATCHDOG_PID"];
  if (!isPositive(text))
    throw new BerthError("USAGE", `WATCHDOG_USEC is "${text}", which is no number of microseconds`);
  if (forPid !== undefined && !isPositive(forPid))
    throw new BerthError("USAGE", `WATCHDOG_PID is "${forPid}", which is not a process id`);
  return forPid === undefined || Number(forPid) === pid ? Number(text) / 1000 : undefined;
}

/** Tells the manager twice in each interval, from the event loop, as long as `healthy` says yes. Dispose to stop. */
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
