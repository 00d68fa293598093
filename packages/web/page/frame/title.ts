/** The title and the icon of the tab count problems. When a berth gets into trouble, screen readers announce it. */
import { useEffect, useRef } from "preact/hooks";
import type { StateWord } from "../../src/api/shapes.ts";
import problemIcon from "../icons/problem.svg";
import wellIcon from "../icons/well.svg";
import { useStore } from "../live/store.ts";
import { connection, world as worldStore } from "../live/stream.ts";
import { plural } from "../model/format.ts";
import { berthsOf, hostOf, type Scope } from "../model/scope.ts";
import { STATES } from "../model/states.ts";
import { totalsOf } from "../model/totals.ts";
import { say } from "../parts/say.ts";

export function useTitle(scope: Scope | undefined): void {
  const world = useStore(worldStore);
  const link = useStore(connection);
  const host = hostOf(scope, world);
  const trouble = totalsOf(berthsOf(scope, world)).trouble;
  const isDown = link.kind === "lost" || (scope?.kind !== "fleet" && (host?.unreachableSince ?? null) !== null);
  const state = isDown ? "Not reachable · " : trouble > 0 ? `${plural(trouble, "problem")} · ` : "";
  const place = scope?.kind === "fleet" ? "Fleet · " : host === undefined ? "" : `${host.id} · `;
  useEffect(() => {
    document.title = `${state}${place}berthd`;
  }, [state, place]);
  const icon = isDown || trouble > 0 ? problemIcon : wellIcon;
  useEffect(() => {
    document.querySelector("link[rel=icon]")?.setAttribute("href", icon);
  }, [icon]);
}

export function useAnnouncedTrouble(): void {
  const world = useStore(worldStore);
  const before = useRef<ReadonlyMap<string, StateWord> | undefined>(undefined);
  useEffect(() => {
    const states = new Map([...world.berths].map(([key, berth]) => [key, berth.state]));
    const isTrouble = (state: StateWord | undefined): boolean =>
      state !== undefined && STATES[state].group === "trouble";
    const fresh = [...world.berths].filter(
      ([key, { state }]) => isTrouble(state) && before.current !== undefined && !isTrouble(before.current.get(key)),
    );
    if (world.at !== null) before.current = states;
    if (fresh.length > 0) {
      say(
        fresh
          .map(([, { name, state, cause }]) => `${name}: ${STATES[state].word}${cause ? `, ${cause}` : ""}`)
          .join("; "),
      );
    }
  }, [world]);
}
