/** Why it is not running or what is wrong: the cause, the next try, and commands to copy. */
import type { JSX } from "preact";
import type { StateWord, Time, Why } from "../../src/api/shapes.ts";
import { STATES } from "../model/states.ts";
import { Command } from "../parts/command.tsx";
import { NextTry } from "../parts/ticking.tsx";

const TITLES: Readonly<Record<Exclude<Why["kind"], "now">, string>> = {
  "not-running": "Why it is not running",
  wrong: "What is wrong",
};

export function WhyBox(props: {
  readonly why: Why;
  readonly state: StateWord;
  readonly host: string;
  readonly frozen: Time | null;
}): JSX.Element {
  const { why, state, host, frozen } = props;
  const isTrouble = STATES[state].group === "trouble";
  return (
    <section class={isTrouble ? "box coloured" : "box"}>
      <h2>{why.kind === "now" ? STATES[state].word : TITLES[why.kind]}</h2>
      <p>{why.text}</p>
      {why.next === null ? null : (
        <p class="next">
          <NextTry at={why.next} frozen={frozen} />
        </p>
      )}
      {why.remedies.map((remedy) => (
        <Command key={remedy.command} {...remedy} host={host} />
      ))}
    </section>
  );
}
