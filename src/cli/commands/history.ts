/** `berth history`: what berth-web has measured of a berth, and when it is best restarted. */
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import { bestHourText, historyCsv, historyTable, isMeasured, nothingText } from "../history/history-text.ts";
import { type BestHour, bestHourOf, measures, notUnderstood, type Step, stepsOf } from "../history/past.ts";
import { askWeb, DEFAULT_WEB, isObject, type WebChoice } from "../history/web-client.ts";
import { readSince } from "../logs/since.ts";
import { DEFAULT_TIMEOUT_SECONDS, jsonOption, timeoutOption } from "../options.ts";
import { hasColours, print } from "../print/stdout.ts";

interface HistoryOptions extends Partial<WebChoice> {
  readonly since: Date;
  readonly json?: true;
  readonly csv?: true;
}

const DAY_MS = 86_400_000;

const help = `
It asks berth-web, which measures and keeps this (docs/web.md). Steps are 10 minutes for the last day, and 4 hours for
the last 30 days. CPU% is of one processor.

Examples:
  berth history arena --since 7d
  berth history arena --since 30d --csv > arena.csv
  berth history arena --json | jq .best`;

export function addHistory(program: Command): void {
  program
    .command("history")
    .description("show what a berth had: players, processor, memory, and the best hour for a restart")
    .argument("<berth>", "its name")
    .addOption(
      new Option("--since <time>", "since when: 12h, 30d, or a time, up to 30 days ago")
        .default(readSince("7d"), "7d")
        .argParser((text) => readSince(text)),
    )
    .option(
      "--web <address>",
      `where berth-web is: http://HOST:PORT or unix:PATH (default: $BERTHD_WEB, ${DEFAULT_WEB})`,
    )
    .option("--token-file <file>", "the token of berth-web, where it asks for one")
    .addOption(timeoutOption("berth-web"))
    .addOption(jsonOption("steps and best hour").conflicts("csv"))
    .option("--csv", "print one line for each step, separated by commas")
    .addHelpText("after", help)
    .action((name: string, options: HistoryOptions) => showHistory(name, options));
}

async function showHistory(name: string, options: HistoryOptions): Promise<void> {
  const choice: WebChoice = { ...options, timeout: options.timeout ?? DEFAULT_TIMEOUT_SECONDS };
  const host = await hostOf(choice);
  const path = `/api/v1/berths/${encodeURIComponent(host)}/${encodeURIComponent(name)}`;
  const since = options.since.getTime();
  const range = Date.now() - since <= DAY_MS ? "24h" : "30d";
  const series = await askWeb(`${path}/series?range=${range}`, choice);
  const quiet = await askWeb(`/api/v1/quiet?berth=${encodeURIComponent(`${host}/${name}`)}`, choice);
  if (series === undefined || quiet === undefined) {
    throw new BerthError("WEB_UNREACHABLE", `berth-web knows no berth ${printable(name)}; which there are: berth ls`);
  }
  const steps = stepsOf(series, since);
  const best = bestHourOf(quiet);
  if (options.csv) print(historyCsv(steps));
  else if (options.json) print(`${printableJson(record(name, steps, best), 2)}\n`);
  else if (!measures.some((measure) => isMeasured(steps, measure))) print(nothingText(name, options.since));
  else print(`${historyTable(steps, hasColours())}${bestHourText(best, isMeasured(steps, "players"))}`);
}

function record(berth: string, steps: readonly Step[], best: BestHour | undefined) {
  return {
    berth,
    steps: steps.map(({ at, ...rest }) => ({ time: new Date(at).toISOString(), ...rest })),
    best: best ?? null,
  };
}

/** The host that berth-web is on. */
async function hostOf(choice: WebChoice): Promise<string> {
  const overview = await askWeb("/api/v1/overview", choice);
  const hosts = overview?.["hosts"];
  const first: unknown = Array.isArray(hosts) ? hosts[0] : undefined;
  const id = isObject(first) ? first["id"] : undefined;
  if (typeof id === "string") return id;
  throw notUnderstood();
}
