/** Tells a server that its berth is drained, as its configuration says: by a signal, by a line typed on its console. */
import { createConnection } from "node:net";
import type { Log } from "../../log.ts";
import { inputFrames } from "../../net/console-frames.ts";
import type { Berth } from "../berths/berth.ts";
import type { Lease } from "../berths/lease.ts";
import { maySignal } from "../berths/server-processes.ts";
import type { DrainFacts } from "../record/lease-facts.ts";
import type { ConsoleSockets } from "../sockets/console-sockets.ts";

/** How long a console may take to read a line. */
const TYPE_TIMEOUT_MS = 5000;
/** Enter. */
const ENTER = "\r";

export interface AnnounceOptions {
  readonly consoles: Pick<ConsoleSockets, "pathOf">;
  readonly log: Log;
}

/** Logs why the server could not be told. The drain goes on then. */
export function announce(berth: Berth, lease: Lease, drain: DrainFacts, { consoles, log }: AnnounceOptions): void {
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
  if (path === undefined) failed("it has no console");
  else type(path, drainCommand, failed);
}

function type(path: string, line: string, failed: (why: string) => void): void {
  const socket = createConnection({ path });
  socket.setTimeout(TYPE_TIMEOUT_MS, () => socket.destroy(new Error("its console does not answer")));
  socket.on("error", (error) => failed(error.message));
  // Read and drop the console's output: the console closes a connection that does not read.
  socket.resume();
  socket.end(inputFrames(Buffer.from(line + ENTER)));
  socket.unref();
}
