/** What a new configuration changes of a berth. Pure. */
import type { BerthSpec, ServerSpec } from "../../../config/keys/spec.ts";
import { interfaceOf } from "../../plans/socket-care.ts";
import type { NamedSocket } from "../../sockets/named-socket.ts";

/** A berth, as far as it decides that. */
interface Settled {
  readonly spec: Pick<BerthSpec, "root">;
  readonly problems: readonly unknown[];
  readonly aside: readonly unknown[];
  readonly sockets: readonly NamedSocket[];
}

/** Whether two configurations are equal, wherever their values are written. */
export function isSameMeaning(a: BerthSpec, b: BerthSpec): boolean {
  return a === b || meaning(a) === meaning(b);
}

/**
 * Whether they are equal for a tenant. What the broker alone goes by makes no difference: who starts, stops, drains and
 * observes the server and how, who answers while it does not run, and who speaks for it.
 */
export function isSameForTenant(a: BerthSpec, b: BerthSpec): boolean {
  return meaning(forTenant(a)) === meaning(forTenant(b));
}

/** Whether the same configuration again would change nothing: nothing is missing, and no path has to be looked at. */
export function isSettled({ spec, problems, aside, sockets }: Settled): boolean {
  const isWhole = spec.root === undefined && problems.length === 0 && aside.length === 0;
  return isWhole && sockets.every(isSettledSocket);
}

/** Whether only a tenant or a close can have changed it: it has no path, and is bound to no interface. */
function isSettledSocket({ socket: { open, listen, options } }: NamedSocket): boolean {
  return open && listen.address.family !== "unix" && interfaceOf(listen, options) === undefined;
}

/** Keys of a server that are in force at once, also for one that runs. */
const BROKERS_OWN: ReadonlySet<string> = new Set<keyof ServerSpec>([
  ...([
    "start",
    "stopAfter",
    "stopSignal",
    "stopTimeout",
    "drain",
    "drainText",
    "drainSignal",
    "drainCommand",
  ] as const),
  ...(["asleep", "query"] as const),
]);

function forTenant({ observer: _, server: { sdk, ...server }, ...spec }: BerthSpec): object {
  const gets = Object.entries(server).filter(([key]) => !BROKERS_OWN.has(key));
  return { ...spec, server: gets, sdk: sdk && [sdk.protocol, sdk.grpcPort, sdk.httpPort] };
}

function meaning(spec: object): string {
  return JSON.stringify(spec, (key, value) => (key === "origin" ? undefined : value));
}
