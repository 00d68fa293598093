/** Above a host's list: its name, version, uptime, memory, and the four figures. */
import type { ComponentChildren, JSX } from "preact";
import type { Host, Time } from "../../src/api/shapes.ts";
import { now } from "../live/clock.ts";
import { asOf, bytes } from "../model/format.ts";
import { For } from "../parts/ticking.tsx";

/** `asOfTime`: when the data was current. Null: it is current now. */
export function HostHead(props: {
  readonly host: Host;
  readonly asOfTime: Time | null;
  readonly children?: ComponentChildren;
}): JSX.Element {
  const { host, asOfTime, children } = props;
  return (
    <div class="head">
      <div>
        <h1>{host.name}</h1>
        <p class="num">
          {host.version === null ? "berthd" : `berthd ${host.version}`}
          {asOfTime === null ? <Facts host={host} /> : ` · as of ${asOf(asOfTime, now())}`}
        </p>
      </div>
      {children}
    </div>
  );
}

function Facts({ host }: { readonly host: Host }): JSX.Element {
  const { up, memory } = host;
  return (
    <>
      {up === null ? null : (
        <>
          {" · up "}
          <For since={up} long />
        </>
      )}
      {memory === null ? null : ` · ${bytes(memory.used)}${memory.limit ? ` of ${bytes(memory.limit)}` : ""} used`}
    </>
  );
}
