/** What each benchmark prints, and what docs/benchmarks.md shows of it, by its name. Pure: a result in, text out. */
import { bindText } from "./bind-report.mjs";
import { cliText } from "./cli-report.mjs";
import { endureText } from "./endure-report.mjs";
import { fleetText } from "./fleet-report.mjs";
import { growthText } from "./growth-report.mjs";
import { launchText } from "./launch-report.mjs";
import { callsText } from "./report.mjs";
import { rootText } from "./root-report.mjs";
import { scaleText } from "./scale-report.mjs";
import { shiftText } from "./shift-report.mjs";
import { webText } from "./web-report.mjs";

export const renderers = {
  bind: bindText,
  calls: callsText,
  cli: cliText,
  endure: endureText,
  fleet: fleetText,
  growth: growthText,
  launch: launchText,
  root: rootText,
  scale: scaleText,
  shift: shiftText,
  web: webText,
};
