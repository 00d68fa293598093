/** The configured addresses, and what is found or opened for each. */
import type { BerthSpec, SocketSpec } from "../../config/keys/spec.ts";
import type { HeldSocket } from "./held-socket.ts";
import type { NamedSocket } from "./named-socket.ts";
import type { PassedSocket } from "./passed-socket.ts";
import { socketKey } from "./socket-key.ts";

/** One configured address. */
export interface Wanted {
  readonly berth: string;
  readonly spec: SocketSpec;
  readonly listen: SocketSpec["listen"][number];
  readonly key: string;
  /** All of the same berth. */
  readonly ofBerth: readonly Wanted[];
  held: HeldSocket | undefined;
  passed: PassedSocket | undefined;
}

export function wantedBy(berth: BerthSpec): Wanted[] {
  const ofBerth: Wanted[] = [];
  for (const spec of berth.sockets)
    for (const listen of spec.listen) {
      const key = socketKey(listen, spec.options);
      ofBerth.push({ berth: berth.name, spec, listen, key, ofBerth, held: undefined, passed: undefined });
    }
  return ofBerth;
}

/** A held socket that shares the address by `reuse-port`: the same user must have both (sk_uid, socket(7)). */
export function siblingOf({ spec, key, ofBerth }: Wanted): HeldSocket | undefined {
  if (spec.options.reusePort !== true) return undefined;
  return ofBerth.find((one) => one.held !== undefined && one.key === key)?.held;
}

/** What is held, by berth, in the order of the configuration. */
export function group(wanted: readonly Wanted[]): Map<string, NamedSocket[]> {
  const byBerth = new Map<string, NamedSocket[]>();
  for (const { berth, spec, held } of wanted) {
    if (held === undefined) continue;
    const one = { name: spec.name, socket: held };
    const list = byBerth.get(berth);
    if (list === undefined) byBerth.set(berth, [one]);
    else list.push(one);
  }
  return byBerth;
}
