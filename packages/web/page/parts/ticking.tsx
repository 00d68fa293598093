/** Texts that change with the time: only their text nodes do. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Time } from "../../src/api/shapes.ts";
import { now, ticks } from "../live/clock.ts";
import { countdown, duration, shortDuration } from "../model/format.ts";

/** `text` of the present time, once a second. With `frozen`, when the data was current: `text` of that time. */
function useTicking(text: (at: Time) => string, frozen: Time | null): string {
  const present = text(frozen ?? now());
  const [, drawAgain] = useState(present);
  useEffect(() => {
    if (frozen !== null) return undefined;
    return ticks.subscribe(() => drawAgain(text(now())));
  });
  return present;
}

export interface Since {
  readonly since: Time;
  readonly frozen?: Time | null;
  /** With the minutes of hours. */
  readonly long?: boolean;
}

/** `4 d 2 h`. */
export function For({ since, frozen = null, long = false }: Since): JSX.Element {
  const text = useTicking((at) => (long ? duration : shortDuration)(at - since), frozen);
  return <span class="num">{text}</span>;
}

/** `4:12`. */
export function Left({ until, frozen = null }: { readonly until: Time; readonly frozen?: Time | null }): JSX.Element {
  const text = useTicking((at) => countdown(until - at), frozen);
  return <span class="num">{text}</span>;
}

/** `Next try in 4:12.` */
export function NextTry({ at, frozen = null }: { readonly at: Time; readonly frozen?: Time | null }): JSX.Element {
  const text = useTicking(
    (time) => (at > time ? `Next try in ${countdown(at - time)}.` : "It is being tried now."),
    frozen,
  );
  return <span class="num">{text}</span>;
}
