/** The berths of one host, or of all. */
import type { JSX } from "preact";
import { Cards } from "../fleet/cards.tsx";
import { TotalsBar } from "../frame/totals-bar.tsx";
import { List } from "../list/list.tsx";
import { Tools } from "../list/tools.tsx";
import { choice as choiceStore } from "../list/wanted.ts";
import { useStore } from "../live/store.ts";
import { connection, world as worldStore } from "../live/stream.ts";
import { plural } from "../model/format.ts";
import { type IsUnreachable, matching } from "../model/layout.ts";
import { berthsOf, hostOf, type Scope } from "../model/scope.ts";
import { totalsOf } from "../model/totals.ts";
import { Empty } from "./empty.tsx";
import { HostHead } from "./host-head.tsx";
import { Loading } from "./loading.tsx";
import { Denied, HostNoAnswer, PageNoAnswer } from "./no-answer.tsx";

export function Overview(props: { readonly scope: Scope | undefined; readonly openKey: string | null }): JSX.Element {
  const { scope, openKey } = props;
  const world = useStore(worldStore);
  const link = useStore(connection);
  const choice = useStore(choiceStore);
  const host = hostOf(scope, world);
  if (link.kind === "connecting" && host === undefined) return <Loading />;
  const isFleet = scope?.kind === "fleet";
  const isPeer = host !== world.hosts.values().next().value;
  const berths = berthsOf(scope, world);
  const isUnreachable: IsUnreachable = (id) => isFleet && world.hosts.get(id)?.unreachableSince !== null;
  const down = isFleet ? null : (host?.unreachableSince ?? null);
  const asOf = down ?? (link.kind === "live" ? null : world.at);
  const totals = <TotalsBar totals={totalsOf(berths)} />;
  return (
    <main id="main" class={asOf === null ? "" : "stale"}>
      {link.kind === "lost" ? <PageNoAnswer lost={link} /> : null}
      {link.kind === "denied" ? <Denied message={link.message} /> : null}
      {link.kind === "live" && down !== null && host !== undefined ? (
        <HostNoAnswer host={host} isPeer={isPeer} since={down} />
      ) : null}
      {isFleet ? (
        <>
          <div class="head">
            <div>
              <h1>Fleet</h1>
              <p class="num">
                {plural(world.hosts.size, "host")}, {plural(berths.length, "berth")}
              </p>
            </div>
            {totals}
          </div>
          <Cards hosts={[...world.hosts.values()]} berths={berths} />
        </>
      ) : host === undefined ? null : (
        <HostHead host={host} asOfTime={asOf}>
          {berths.length === 0 ? null : totals}
        </HostHead>
      )}
      {host === undefined ? null : berths.length === 0 ? (
        <Empty />
      ) : (
        <>
          <Tools shown={matching(berths, choice, isUnreachable).length} all={berths.length} />
          <List
            berths={berths}
            hosts={world.hosts}
            isUnreachable={isUnreachable}
            revision={world.revision}
            isFleet={isFleet}
            scope={isFleet ? "fleet" : host.id}
            openKey={openKey}
            asOf={asOf}
          />
        </>
      )}
    </main>
  );
}
