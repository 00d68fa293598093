/** What happened, by day, the newest first. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { BerthRow, Timeline, TimelineEvent, TimelineKind } from "../../src/api/shapes.ts";
import { useAnswer } from "../live/ask.ts";
import { now } from "../live/clock.ts";
import { useStore } from "../live/store.ts";
import { lastEvent } from "../live/stream.ts";
import { byDay, MOST_EVENTS, withEvent } from "../model/days.ts";
import { clockTime } from "../model/format.ts";
import { Icon, type IconName } from "../parts/icon.tsx";

const ASK_EVERY_MS = 60_000;
const FIRST = 30;

type Tone = "failed" | "problem" | "handover" | "draining" | "serving" | "plain";

const LOOKS: Readonly<Record<TimelineKind, readonly [IconName, Tone]>> = {
  lease: ["plug", "serving"],
  ready: ["check", "serving"],
  takeover: ["handover", "handover"],
  handover: ["handover", "handover"],
  released: ["vacant", "plain"],
  stopping: ["stop", "plain"],
  crash: ["failed", "failed"],
  failed: ["failed", "failed"],
  wake: ["wake", "serving"],
  drain: ["draining", "draining"],
  repaired: ["gear", "plain"],
  changed: ["gear", "plain"],
  added: ["gear", "plain"],
  removed: ["gear", "plain"],
  unwatched: ["unknown", "plain"],
};

export function Events({ berth, path }: { readonly berth: BerthRow; readonly path: string }): JSX.Element {
  const [limit, setLimit] = useState(FIRST);
  const answer = useAnswer<Timeline>(`berths/${path}/timeline?limit=${limit}`, ASK_EVERY_MS, berth.state);
  const heard = useHeard(berth);
  // The page shows the short list until the answer with the longer one comes.
  const [known, setKnown] = useState<Timeline>();
  useEffect(() => {
    if (answer.kind === "ok") setKnown(answer.value);
  }, [answer]);
  const events = heard.reduce(withEvent, known?.events ?? []);
  return (
    <section class="section events">
      <h2>What happened</h2>
      {byDay(events, now()).map((day) => (
        <>
          <h3>{day.title}</h3>
          <ol>
            {day.events.map((event) => (
              <Happened key={`${event.at} ${event.kind} ${event.text}`} event={event} />
            ))}
          </ol>
        </>
      ))}
      {answer.kind === "refused" && known === undefined ? <p class="muted">{answer.message}</p> : null}
      {known !== undefined && events.length === 0 ? <p class="muted">Nothing yet.</p> : null}
      {known?.more && limit === FIRST ? (
        <button type="button" class="text-button" onClick={() => setLimit(MOST_EVENTS)}>
          Show older ones
        </button>
      ) : null}
    </section>
  );
}

function Happened({ event }: { readonly event: TimelineEvent }): JSX.Element {
  const [icon, tone] = LOOKS[event.kind] ?? ["unknown", "plain"];
  return (
    <li data-tone={tone}>
      <time dateTime={new Date(event.at).toISOString()}>{clockTime(event.at)}</time>
      <Icon name={icon} />
      <div>
        <span class="what">{event.text}</span>
        {event.detail === null ? null : <div class="more-of-it">{event.detail}</div>}
      </div>
    </li>
  );
}

/** Events of this berth that the stream has brought since it was opened. */
function useHeard(berth: BerthRow): readonly TimelineEvent[] {
  const last = useStore(lastEvent);
  const [heard, setHeard] = useState<readonly TimelineEvent[]>([]);
  useEffect(() => {
    if (last?.host === berth.host && last.name === berth.name) setHeard((before) => withEvent(before, last.event));
  }, [last, berth.host, berth.name]);
  return heard;
}
