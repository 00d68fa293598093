/** A state as icon and words. The colour comes from the nearest `data-state`. */
import type { ComponentChild, JSX } from "preact";
import type { StateWord } from "../../src/api/shapes.ts";
import { STATES } from "../model/states.ts";
import { Icon } from "./icon.tsx";
import { OutdatedBadge } from "./outdated-badge.tsx";

export function StateIcon({ state }: { readonly state: StateWord }): JSX.Element {
  return <Icon name={state} spin={state === "starting"} />;
}

/** The word, with the badge of a berth that serves from something older. */
export function StateText({ state, outdated }: { readonly state: StateWord; readonly outdated: boolean }): JSX.Element {
  return (
    <span>
      <span class="state-word">{STATES[state].word}</span>
      {outdated && state === "serving" ? <OutdatedBadge /> : null}
    </span>
  );
}

export function StateMark(props: {
  readonly state: StateWord;
  readonly outdated: boolean;
  readonly children: ComponentChild;
}): JSX.Element {
  return (
    <>
      <StateIcon state={props.state} />
      <span class="two-lines">
        <StateText state={props.state} outdated={props.outdated} />
        <span class="num">{props.children}</span>
      </span>
    </>
  );
}
