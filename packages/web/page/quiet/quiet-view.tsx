/** When is it quiet? First the answer in words, then the map. */
import type { JSX } from "preact";
import type { Quiet, QuietHour } from "../../src/api/shapes.ts";
import { berthPath, useAnswer } from "../live/ask.ts";
import { now } from "../live/clock.ts";
import { useStore } from "../live/store.ts";
import { world as worldStore } from "../live/stream.ts";
import { DAY_NAMES } from "../model/drawing/heat.ts";
import { duration, hourOfDay, mean, plural } from "../model/format.ts";
import { hrefOf } from "../model/route.ts";
import { Command } from "../parts/command.tsx";
import { HeatMap } from "./heat-map.tsx";

export interface QuietProps {
  readonly host: string | null;
  /** Null: all berths of the host. */
  readonly name: string | null;
}

const ASK_EVERY_MS = 600_000;

export function QuietView({ host, name }: QuietProps): JSX.Element {
  const answer = useAnswer<Quiet>(questionOf(host, name), ASK_EVERY_MS);
  return (
    <main id="main">
      <div class="head">
        <div>
          <h1>When is it quiet?</h1>
          <p>Players on average, by hour and weekday, in the last 8 weeks</p>
        </div>
        <BerthSelect host={host} name={name} />
      </div>
      {answer.kind === "ok" ? <Found quiet={answer.value} /> : null}
      {answer.kind === "refused" ? <p class="lede">{answer.message}</p> : null}
    </main>
  );
}

function questionOf(host: string | null, name: string | null): string {
  if (host === null) return "quiet";
  return name === null ? `quiet?host=${encodeURIComponent(host)}` : `quiet?berth=${berthPath(host, name)}`;
}

function BerthSelect({ host, name }: QuietProps): JSX.Element {
  const world = useStore(worldStore);
  const names = [...world.berths.values()].filter((berth) => berth.host === host).map((berth) => berth.name);
  names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const go = (chosen: string): void => {
    location.hash = hrefOf({ view: "quiet", host, name: chosen === "" ? null : chosen });
  };
  return (
    <select class="select" aria-label="Berth" value={name ?? ""} onChange={(event) => go(event.currentTarget.value)}>
      <option value="">All berths{host === null ? "" : ` on ${host}`}</option>
      {names.map((one) => (
        <option key={one} value={one}>
          {one}
        </option>
      ))}
    </select>
  );
}

function Found({ quiet }: { readonly quiet: Quiet }): JSX.Element {
  const { best, others, enough, days, remedy } = quiet;
  return (
    <>
      {enough && best !== null ? (
        <>
          <p class="answer">
            {DAY_NAMES[best.weekday]}, {hourOfDay(best.hour)} to {hourOfDay(best.hour + 1)}
          </p>
          <p class="lede">{inWords(best, others)}</p>
        </>
      ) : (
        <>
          <p class="answer">Not known yet</p>
          <p class="lede">
            {days === 0 ? "Nothing has been measured yet" : `There are measurements of ${plural(days, "day")}`}; two
            weeks are needed to name an hour.
          </p>
        </>
      )}
      {enough && remedy !== null ? (
        <div class="then">
          <Command {...remedy} host={quiet.host} />
        </div>
      ) : null}
      <HeatMap quiet={quiet} />
    </>
  );
}

function inWords(best: QuietHour, others: readonly QuietHour[]): string {
  const date = new Date(best.next).toLocaleDateString("en-GB", { day: "numeric", month: "long" });
  const again = `It comes again on ${date}, in ${duration(best.next - now())}.`;
  const nearly = others
    .map((one) => `${DAY_NAMES[one.weekday]} ${hourOfDay(one.hour)} (${mean(one.mean)})`)
    .join(" and ");
  const most = Math.ceil(best.high);
  const first = `The best hour for a restart: on average ${mean(best.mean)} players, at the most ${most}. ${again}`;
  return nearly === "" ? first : `${first} Nearly as quiet: ${nearly}.`;
}
