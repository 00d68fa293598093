/** One berth: its state, why, facts, plots and events, in this order. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { BerthDetail, BerthRow, Time } from "../../src/api/shapes.ts";
import { SinceLine } from "../list/since-line.tsx";
import { berthPath, useAnswer } from "../live/ask.ts";
import { PHONE, useMedia } from "../live/media.ts";
import { keyOf } from "../model/world.ts";
import { StateIcon, StateText } from "../parts/state-mark.tsx";
import { DetailHead } from "./detail-head.tsx";
import { DrainBox } from "./drain-box.tsx";
import { Events } from "./events.tsx";
import { Facts } from "./facts.tsx";
import { Use } from "./use.tsx";
import { WhyBox } from "./why-box.tsx";

export interface DetailProps {
  readonly berth: BerthRow;
  /** When the data was current. Null: it is current now. */
  readonly frozen: Time | null;
  /** Address of the list to go back to. */
  readonly back: string;
}

const ASK_EVERY_MS = 5000;

export function Detail({ berth, frozen, back }: DetailProps): JSX.Element {
  const key = keyOf(berth);
  const path = berthPath(berth.host, berth.name);
  const answer = useAnswer<BerthDetail>(`berths/${path}`, ASK_EVERY_MS, `${berth.state} ${berth.since}`);
  const detail = answer.kind === "ok" ? answer.value : null;
  const isPhone = useMedia(PHONE);
  const box = useRef<HTMLElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  // When another berth is opened.
  useEffect(() => {
    title.current?.focus({ preventScroll: true });
    box.current?.scrollTo(0, 0);
    if (matchMedia(PHONE).matches) scrollTo(0, 0);
  }, [key]);
  const Tag = isPhone ? "main" : "aside";
  return (
    <Tag
      ref={box}
      class={frozen === null ? "detail" : "detail stale"}
      data-state={berth.state}
      aria-labelledby="detail-title"
    >
      <DetailHead berth={berth} back={back} title={title} />
      <div class="detail-body">
        {berth.state === "draining" ? (
          <DrainBox berth={berth} why={detail?.why ?? null} frozen={frozen} />
        ) : (
          <>
            <p class="state state-line">
              <StateIcon state={berth.state} />
              <span>
                <StateText state={berth.state} outdated={berth.outdated !== null} />{" "}
                <span class="muted num">
                  <SinceLine berth={berth} frozen={frozen} />
                </span>
              </span>
            </p>
            {detail?.why ? <WhyBox why={detail.why} state={berth.state} host={berth.host} frozen={frozen} /> : null}
          </>
        )}
        <Facts berth={berth} detail={detail} />
        <Use key={`use ${key}`} path={path} />
        <Events key={`events ${key}`} berth={berth} path={path} />
      </div>
    </Tag>
  );
}
