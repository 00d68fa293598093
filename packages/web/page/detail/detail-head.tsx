/** The berth's name, and the way to its neighbours and back. */
import type { JSX, RefObject } from "preact";
import type { BerthRow } from "../../src/api/shapes.ts";
import { step } from "../frame/keys.ts";
import { gameLine } from "../model/berth-lines.ts";
import { Icon } from "../parts/icon.tsx";

export function DetailHead(props: {
  readonly berth: BerthRow;
  readonly back: string;
  readonly title: RefObject<HTMLHeadingElement | null>;
}): JSX.Element {
  const { berth, back, title } = props;
  return (
    <div class="detail-head">
      <a class="icon-button back" href={back} aria-label="Back to the berths">
        <Icon name="left" />
      </a>
      <div class="two-lines">
        <h1 id="detail-title" ref={title} tabIndex={-1}>
          {berth.name}
        </h1>
        <span>{gameLine(berth)}</span>
      </div>
      <button type="button" class="icon-button step" aria-label="Previous berth" onClick={() => step(-1)}>
        <Icon name="up" />
      </button>
      <button type="button" class="icon-button step" aria-label="Next berth" onClick={() => step(1)}>
        <Icon name="down" />
      </button>
      <a class="icon-button close" href={back} aria-label="Close" title="Close (Esc)">
        <Icon name="close" />
      </a>
    </div>
  );
}
