/** The bar on top: the views, whether the page is live, keys, theme. */
import type { JSX } from "preact";
import { useStore } from "../live/store.ts";
import { connection } from "../live/stream.ts";
import { hrefOf, type Route } from "../model/route.ts";
import { Icon } from "../parts/icon.tsx";
import { ThemeButton } from "./theme-button.tsx";

export interface TopBarProps {
  readonly current: "fleet" | "berths" | "quiet";
  /** There is more than one host. */
  readonly hasFleet: boolean;
  readonly berths: Route;
  /** The broker of the host that is shown answers. */
  readonly isReachable: boolean;
  readonly onHelp: () => void;
}

export function TopBar({ current, hasFleet, berths, isReachable, onHelp }: TopBarProps): JSX.Element {
  return (
    <header class="top">
      <a class="brand" href={hrefOf({ view: hasFleet ? "fleet" : "home" })} aria-label="berthd, overview">
        <svg aria-hidden="true">
          <use href="#brand" />
        </svg>
        <b>berthd</b>
      </a>
      <nav aria-label="Views">
        {hasFleet ? <View route={{ view: "fleet" }} title="Fleet" isCurrent={current === "fleet"} /> : null}
        <View route={berths} title="Berths" isCurrent={current === "berths"} />
        <View route={{ view: "quiet", host: null, name: null }} title="Quiet hours" isCurrent={current === "quiet"} />
      </nav>
      <LiveText isReachable={isReachable} />
      <button
        type="button"
        class="icon-button keys-only"
        aria-label="Keys and states"
        title="Keys and states (?)"
        onClick={onHelp}
      >
        <Icon name="keys" />
      </button>
      <ThemeButton />
    </header>
  );
}

function View(props: { readonly route: Route; readonly title: string; readonly isCurrent: boolean }): JSX.Element {
  return (
    <a href={hrefOf(props.route)} aria-current={props.isCurrent ? "page" : undefined}>
      {props.title}
    </a>
  );
}

function LiveText({ isReachable }: { readonly isReachable: boolean }): JSX.Element {
  const { kind } = useStore(connection);
  if (kind === "connecting") return <span class="live">Connecting</span>;
  if (kind === "live" && isReachable) return <span class="live">Live</span>;
  return <span class="live warn">Not live</span>;
}
