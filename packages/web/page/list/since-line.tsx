/** The second line of a state: what is left, the cause, or for how long. */
import type { JSX } from "preact";
import type { BerthRow, Time } from "../../src/api/shapes.ts";
import { For, Left } from "../parts/ticking.tsx";

export function SinceLine(props: { readonly berth: BerthRow; readonly frozen: Time | null }): JSX.Element | null {
  const { berth, frozen } = props;
  const { state, since, drain, cause } = berth;
  if (state === "draining" && drain !== null) {
    const on = berth.players === null ? "" : `, ${berth.players} on`;
    if (drain.deadline === null) return <>until it is empty{on}</>;
    return (
      <>
        <Left until={drain.deadline} frozen={frozen} /> left{on}
      </>
    );
  }
  if (cause !== null) return <>{cause}</>;
  if (since === null) return null;
  return (
    <>
      {state === "handover" ? "both serve, for " : "for "}
      <For since={since} frozen={frozen} />
    </>
  );
}
