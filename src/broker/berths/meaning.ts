/** What a new configuration changes of a berth. Pure. */
import type { BerthSpec } from "../../config/keys/spec.ts";
import { interfaceOf } from "../plans/socket-care.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";

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

/** Whether they are equal for a tenant: who observes it, how, and who speaks for it makes no difference. */
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

function forTenant({ observer: _, server: { query: __, sdk, ...server }, ...spec }: BerthSpec): object {
  return { ...spec, server, sdk: sdk && [sdk.protocol, sdk.grpcPort, sdk.httpPort] };
}

function meaning(spec: object): string {
  return JSON.stringify(spec, (key, value) => (key === "origin" ? undefined : value));
}
