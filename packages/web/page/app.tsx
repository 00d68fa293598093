/** The page: the frame, the view that the address names, and above it the berth that is open. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { DetailProps } from "./detail/detail.tsx";
import { Help } from "./frame/help.tsx";
import { listenToKeys } from "./frame/keys.ts";
import { useAnnouncedTrouble, useTitle } from "./frame/title.ts";
import { TopBar } from "./frame/top-bar.tsx";
import { useRoute } from "./live/address.ts";
import { useStore } from "./live/store.ts";
import { connection, world as worldStore } from "./live/stream.ts";
import { hrefOf } from "./model/route.ts";
import { hostOf, routeOf, type Scope, scopeAfter } from "./model/scope.ts";
import { keyOf } from "./model/world.ts";
import { Overview } from "./overview/overview.tsx";
import { Lazy, type Loader } from "./parts/lazy.tsx";
import type { QuietProps } from "./quiet/quiet-view.tsx";

const detail: Loader<DetailProps> = { load: async () => (await import("./detail/detail.tsx")).Detail };
const quiet: Loader<QuietProps> = { load: async () => (await import("./quiet/quiet-view.tsx")).QuietView };

export function App(): JSX.Element {
  const route = useRoute();
  const world = useStore(worldStore);
  const isLive = useStore(connection).kind === "live";
  const [isHelpOpen, setHelpOpen] = useState(false);
  const scope = useRef<Scope | undefined>(undefined);
  scope.current = scopeAfter(scope.current, route);
  const back = hrefOf(routeOf(scope.current, world));
  const host = hostOf(scope.current, world);
  const openKey = route.view === "berth" ? keyOf(route) : null;
  const open = openKey === null ? undefined : world.berths.get(openKey);

  useTitle(scope.current);
  useAnnouncedTrouble();
  useFocusOfRow(openKey);
  useEffect(() => {
    document.body.classList.toggle("has-detail", open !== undefined);
  }, [open !== undefined]);
  const isOpen = useRef(false);
  isOpen.current = openKey !== null;
  const backRef = useRef(back);
  backRef.current = back;
  useEffect(
    () =>
      listenToKeys({
        help: () => setHelpOpen(true),
        close: () => {
          if (!isOpen.current) return false;
          location.hash = backRef.current;
          return true;
        },
      }),
    [],
  );

  return (
    <>
      <TopBar
        current={route.view === "quiet" ? "quiet" : scope.current?.kind === "fleet" ? "fleet" : "berths"}
        hasFleet={world.hosts.size > 1}
        berths={host === undefined ? { view: "home" } : routeOf({ kind: "host", host: host.id }, world)}
        isReachable={host?.unreachableSince === null}
        onHelp={() => setHelpOpen(true)}
      />
      <div class="frame">
        {route.view === "quiet" ? (
          <Lazy loader={quiet} props={{ host: route.host ?? host?.id ?? null, name: route.name }} />
        ) : (
          <Overview scope={scope.current} openKey={openKey} />
        )}
        {open === undefined ? null : (
          <Lazy
            loader={detail}
            props={{
              berth: open,
              back,
              frozen: world.hosts.get(open.host)?.unreachableSince ?? (isLive ? null : world.at),
            }}
          />
        )}
      </div>
      <Help open={isHelpOpen} onClose={() => setHelpOpen(false)} />
    </>
  );
}

/** Closing a berth gives the focus back to its row. */
function useFocusOfRow(openKey: string | null): void {
  const last = useRef<string | null>(null);
  useEffect(() => {
    if (openKey === null && last.current !== null) {
      document.querySelector<HTMLElement>(`.row[data-key="${CSS.escape(last.current)}"] .name a`)?.focus();
    }
    last.current = openKey;
  }, [openKey]);
}
