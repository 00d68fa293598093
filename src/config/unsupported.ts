/** What the design has and this version has not: refused with a sentence of its own, not as a typing error. */
import type { Report } from "./problem.ts";
import type { Origin } from "./spec.ts";

const unsupported: ReadonlySet<string> = new Set(['server.user = "range"', "server.enter"]);

/** Reports `what` and says true if this version cannot do it. */
export function refuseUnsupported(what: string, origin: Origin, report: Report): boolean {
  if (!unsupported.has(what)) return false;
  report(origin, `${what} is not supported by this version`, "remove it");
  return true;
}
