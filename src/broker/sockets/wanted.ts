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
  held: HeldSocket | undefined;
  passed: PassedSocket | undefined;
}

export function wantedBy(berth: BerthSpec): Wanted[] {
  return berth.sockets.flatMap((spec) =>
    spec.listen.map((listen) => ({
      berth: berth.name,
      spec,
      listen,
      key: socketKey(listen, spec.options),
      held: undefined,
      passed: undefined,
    })),
  );
}

/** What is held, by berth, in the order of the configuration. */
export function group(wanted: readonly Wanted[]): Map<string, NamedSocket[]> {
  const byBerth = new Map<string, NamedSocket[]>();
  for (const { berth, spec, held } of wanted) {
    if (held === undefined) continue;
    const list = byBerth.get(berth) ?? [];
    list.push({ name: spec.name, socket: held });
    byBerth.set(berth, list);
  }
  return byBerth;
}
