/** Tells a server that its berth is drained, as its configuration says: by a signal, by a line typed on its console. */
import type { Log } from "../../log.ts";
import { WHEN, withTime } from "../../time-left.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { maySignal } from "../berths/server-processes.ts";
import { bootTime } from "../record/boot-time.ts";
import type { DrainFacts } from "../record/lease-facts.ts";
import type { ConsoleSockets } from "../sockets/control/console-sockets.ts";
import type { Typist } from "./typist.ts";

export interface AnnounceOptions {
  readonly consoles: Pick<ConsoleSockets, "pathOf">;
  readonly typist: Pick<Typist, "type">;
  readonly log: Log;
}

/** Logs why the server could not be told. The drain goes on then. */
export function announce(berth: Berth, lease: Lease, drain: DrainFacts, options: AnnounceOptions): void {
  const { drainSignal } = berth.spec.server;
  if (drainSignal !== undefined) {
    const may = drain.privileged || maySignal(drain.uid, lease.tenant.pid, berth.range);
    if (!may) sayWhy(berth, lease, `uid ${drain.uid} may not send it a signal`, options);
    else if (lease.signal(drainSignal) < 0) sayWhy(berth, lease, "it has ended, or cannot get a signal", options);
  }
  typeCommand(berth, lease, drain, options);
}

/** Later: types the command again, if it says how much time is left. */
export function announceAgain(berth: Berth, lease: Lease, drain: DrainFacts, options: AnnounceOptions): void {
  if (berth.spec.server.drainCommand?.includes(WHEN) === true) typeCommand(berth, lease, drain, options);
}

function typeCommand(berth: Berth, lease: Lease, { deadline }: DrainFacts, options: AnnounceOptions): void {
  const { drainCommand } = berth.spec.server;
  if (drainCommand === undefined) return;
  const { consoles, typist } = options;
  const path = consoles.pathOf(lease.id);
  const left = deadline === undefined ? undefined : deadline - bootTime();
  const why = path === undefined ? "it has no console" : typist.type(lease, path, withTime(drainCommand, left));
  if (why !== undefined) sayWhy(berth, lease, why, options);
}

function sayWhy(berth: Berth, lease: Lease, why: string, { log }: AnnounceOptions): void {
  const { pid } = lease.tenant;
  const message = `berth ${berth.name}: pid ${pid} was not told that its berth is drained: ${why}`;
  log("warning", message, { event: "drain-not-told", berth: berth.name, pid });
}
