/** Tells a server that its berth is drained, as its configuration says: by a signal, by a line typed on its console. */
import type { Log } from "../../log.ts";
import type { Berth } from "../berths/berth.ts";
import type { Lease } from "../berths/lease.ts";
import { maySignal } from "../berths/server-processes.ts";
import type { DrainFacts } from "../record/lease-facts.ts";
import type { ConsoleSockets } from "../sockets/console-sockets.ts";
import type { Typist } from "./typist.ts";

export interface AnnounceOptions {
  readonly consoles: Pick<ConsoleSockets, "pathOf">;
  readonly typist: Pick<Typist, "type">;
  readonly log: Log;
}

/** Logs why the server could not be told. The drain goes on then. */
export function announce(
  berth: Berth,
  lease: Lease,
  drain: DrainFacts,
  { consoles, typist, log }: AnnounceOptions,
): void {
  const { drainSignal, drainCommand } = berth.spec.server;
  const { pid } = lease.tenant;
  const failed = (why: string): void => {
    const message = `berth ${berth.name}: pid ${pid} was not told that its berth is drained: ${why}`;
    log("warning", message, { event: "drain-not-told", berth: berth.name, pid });
  };
  if (drainSignal !== undefined) {
    const may = drain.privileged || maySignal(drain.uid, pid, berth.range);
    if (!may) failed(`uid ${drain.uid} may not send it a signal`);
    else if (lease.signal(drainSignal) < 0) failed("it has ended, or cannot get a signal");
  }
  if (drainCommand === undefined) return;
  const path = consoles.pathOf(lease.id);
  const why = path === undefined ? "it has no console" : typist.type(lease, path, drainCommand);
  if (why !== undefined) failed(why);
}
