/** What players may know: title, game, state in plain words, players, map, address, and the last 30 days. */
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { PublicBerth, StateWord } from "../../src/api/shapes.ts";
import { useAnswer } from "../live/ask.ts";
import { busiestByDay } from "../model/drawing/month.ts";
import { highest } from "../model/drawing/spark-path.ts";
import { clockTime } from "../model/format.ts";
import { BareCommand } from "../parts/command.tsx";
import { Spark } from "../parts/spark.tsx";
import { StateIcon } from "../parts/state-mark.tsx";

const ASK_EVERY_MS = 15_000;

const WORDS: Readonly<Record<PublicBerth["state"], readonly [StateWord, string]>> = {
  open: ["serving", "Up"],
  wakes: ["asleep", "Asleep: your join wakes it"],
  soon: ["starting", "Starting: join now and wait a moment"],
  closed: ["vacant", "Closed"],
};

export function PublicPage({ name }: { readonly name: string }): JSX.Element {
  const answer = useAnswer<PublicBerth>(`public/${encodeURIComponent(name)}`, ASK_EVERY_MS);
  const berth = answer.kind === "ok" ? answer.value : null;
  useEffect(() => {
    if (berth !== null) document.title = titleOf(berth);
  }, [berth]);
  if (answer.kind === "refused") {
    const isMissing = answer.code === "not-found";
    return (
      <main id="main" class="public">
        <h1>{isMissing ? "No such page" : "No answer"}</h1>
        <p class="muted">
          {isMissing
            ? "There is no public page here, or no longer."
            : "The server of this page does not answer now. The page asks again by itself."}
        </p>
      </main>
    );
  }
  return berth === null ? <main id="main" class="public" aria-busy="true" /> : <Known berth={berth} />;
}

function Known({ berth }: { readonly berth: PublicBerth }): JSX.Element {
  const [state, words] = WORDS[berth.state];
  return (
    <main id="main" class="public" data-state={state}>
      <p class="game">{berth.game}</p>
      <h1>{berth.title}</h1>
      <p class="state">
        <StateIcon state={state} />
        <span class="state-word">{words}</span>
      </p>
      <div class="on">
        <b>
          <span>{berth.players ?? "–"}</span>
          {berth.slots === null ? null : <small> / {berth.slots}</small>}
        </b>
        <span class="muted">{berth.map === null ? "players" : `on ${berth.map}`}</span>
      </div>
      <Day berth={berth} />
      {berth.join === null ? null : (
        <a class="join" href={berth.join}>
          Join
        </a>
      )}
      {berth.address === null ? null : (
        <div class={berth.join === null ? "join-address alone" : "join-address"}>
          <BareCommand command={berth.address} what="address" />
        </div>
      )}
      <Month berth={berth} />
      <p class="foot">As of {clockTime(berth.at)}, your time. Refreshes by itself.</p>
    </main>
  );
}

function Day({ berth }: { readonly berth: PublicBerth }): JSX.Element | null {
  const most = highest(berth.spark);
  if (most === null) return null;
  return (
    <>
      <Spark values={berth.spark} top={berth.slots} span="24 h" />
      <div class="axis" aria-hidden="true">
        <span>24 hours ago</span>
        <span>at the most {Math.round(most)}</span>
        <span>now</span>
      </div>
    </>
  );
}

/** A bar for each of 30 days. */
function Month({ berth }: { readonly berth: PublicBerth }): JSX.Element | null {
  const days = busiestByDay(berth.month);
  const most = highest(days);
  if (most === null) return null;
  const top = Math.max(berth.slots ?? most, 1);
  return (
    <section class="month">
      <h2>The last 30 days</h2>
      <div class="days" role="img" aria-label={`Players in 30 days: at the most ${Math.round(most)}`}>
        {days.map((players, at) => (
          // A day has no other key than its place.
          <i key={at} style={{ height: `${Math.round((Math.min(players ?? 0, top) / top) * 100)}%` }} />
        ))}
      </div>
      <div class="axis" aria-hidden="true">
        <span>30 days ago</span>
        <span>at the most {Math.round(most)}</span>
        <span>today</span>
      </div>
    </section>
  );
}

function titleOf({ players, slots, title }: PublicBerth): string {
  const on = players === null ? "" : slots === null ? `${players} · ` : `${players} / ${slots} · `;
  return `${on}${title}`;
}
