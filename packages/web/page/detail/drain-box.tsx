/** A berth that drains: the countdown, how many players are on, and the command that cancels the drain. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { BerthRow, Time, Why } from "../../src/api/shapes.ts";
import { now, ticks } from "../live/clock.ts";
import { plural } from "../model/format.ts";
import { Command } from "../parts/command.tsx";
import { StateIcon } from "../parts/state-mark.tsx";
import { Left } from "../parts/ticking.tsx";

export function DrainBox(props: {
  readonly berth: BerthRow;
  readonly why: Why | null;
  readonly frozen: Time | null;
}): JSX.Element {
  const { berth, why, frozen } = props;
  const deadline = berth.drain?.deadline ?? null;
  const began = berth.drain?.began ?? null;
  return (
    <section class="box coloured" aria-label="Drain">
      <div class="drain">
        <div>
          <h2>
            <StateIcon state="draining" />
            <span class="state-word">Draining</span>
          </h2>
          <p>
            {berth.players === null ? "" : `${plural(berth.players, "player")} still on. `}
            {why?.text}
          </p>
        </div>
        {deadline === null ? null : (
          <div class="countdown" role="timer" aria-label="Time left">
            <Left until={deadline} frozen={frozen} />
          </div>
        )}
      </div>
      {deadline === null || began === null ? null : <Bar began={began} deadline={deadline} frozen={frozen} />}
      {why?.remedies.map((remedy) => (
        <Command key={remedy.command} {...remedy} host={berth.host} />
      ))}
    </section>
  );
}

function Bar(props: { readonly began: Time; readonly deadline: Time; readonly frozen: Time | null }): JSX.Element {
  const { began, deadline, frozen } = props;
  const [at, setAt] = useState(frozen ?? now());
  useEffect(() => (frozen === null ? ticks.subscribe(() => setAt(now())) : undefined), [frozen]);
  const left = Math.max(0, Math.min(1, (deadline - at) / Math.max(deadline - began, 1)));
  return (
    <div class="bar" aria-hidden="true">
      <i style={{ width: `${(left * 100).toFixed(1)}%` }} />
    </div>
  );
}
