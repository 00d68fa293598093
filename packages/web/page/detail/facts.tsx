/** The facts of a berth, as names and values. */
import type { ComponentChildren, JSX } from "preact";
import type { BerthDetail, BerthRow } from "../../src/api/shapes.ts";
import { isFull, newerVersion } from "../model/berth-lines.ts";
import { DAY_NAMES } from "../model/drawing/heat.ts";
import { bytes, hourOfDay } from "../model/format.ts";
import { hrefOf } from "../model/route.ts";
import { queueTrouble } from "../model/sockets.ts";
import { CopyButton } from "../parts/copy-button.tsx";

const STARTS: Readonly<Record<NonNullable<BerthDetail["starts"]>, string>> = {
  "on-demand": "on demand",
  unit: "by its unit",
  hand: "by hand",
};

export function Facts({
  berth,
  detail,
}: {
  readonly berth: BerthRow;
  readonly detail: BerthDetail | null;
}): JSX.Element {
  const { address, protocol, memory, restarts } = berth;
  const newer = newerVersion(berth);
  const tenant = detail?.tenant ?? null;
  const quietest = detail?.quietest ?? null;
  const trouble = queueTrouble(detail?.sockets ?? []);
  return (
    <section class="section">
      <h2 class="visually-hidden">Facts</h2>
      <dl class="facts">
        <Fact name={protocol === null ? "Address" : `Address, ${protocol.toUpperCase()}`}>
          {address === null ? (
            <None />
          ) : (
            <>
              <span>{address}</span>
              <CopyButton text={address} what="address" />
            </>
          )}
        </Fact>
        <Fact name="Players">{playersText(berth)}</Fact>
        <Fact name="Image">
          {berth.image === null ? (
            <None />
          ) : (
            <span>
              {berth.image}
              {newer === null ? null : <span class="newer"> → {newer}</span>}
            </span>
          )}
        </Fact>
        {detail?.starts ? <Fact name="Starts">{STARTS[detail.starts]}</Fact> : null}
        <Fact name="Tenant">{tenant === null ? <None /> : `pid ${tenant.pid} as ${tenant.user}`}</Fact>
        <Fact name="Memory">
          {memory === null ? (
            <None text={tenant === null ? "none" : "not known"} />
          ) : (
            <span class={isFull(memory) ? "warn" : ""}>
              {bytes(memory.used)}
              {memory.limit === null ? "" : ` of ${bytes(memory.limit)}`}
            </span>
          )}
        </Fact>
        {restarts === null ? null : <Fact name="Restarts">{restarts}</Fact>}
        {detail?.status ? <Fact name="Says">{detail.status}</Fact> : null}
        {trouble === null ? null : (
          <Fact name="Receive queue">
            <span class="warn">{trouble}</span>
          </Fact>
        )}
        {quietest === null ? null : (
          <Fact name="Quietest">
            <a class="link" href={hrefOf({ view: "quiet", host: berth.host, name: berth.name })}>
              {DAY_NAMES[quietest.weekday]}, {hourOfDay(quietest.hour)}
            </a>
          </Fact>
        )}
        {detail?.publicPage ? (
          <Fact name="For players">
            <a class="link" href={detail.publicPage}>
              Public page
            </a>
          </Fact>
        ) : null}
      </dl>
    </section>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function None({ text = "none" }: { readonly text?: string }): JSX.Element {
  return <span class="muted">{text}</span>;
}

function playersText({ players, slots }: BerthRow): string {
  if (players === null) return "not known";
  return slots === null ? String(players) : `${players} of ${slots}`;
}
