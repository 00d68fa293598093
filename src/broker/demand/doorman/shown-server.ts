/** What a doorman says about a berth's server that does not answer itself. */
import type { AsleepServer } from "../../../doorman/interfaces/messages.ts";
import type { Berth } from "../../berths/berth/berth.ts";

/** As `server.asleep-as` says. Without a name there it has the berth's, and the port is its first socket's. */
export function shownServer({ name, spec, sockets }: Berth): AsleepServer {
  const as = spec.server.asleep?.as;
  const [port] = sockets.flatMap(({ socket: { address } }) => (address.family === "unix" ? [] : [address.port]));
  return { map: "", slots: 0, ...(port !== undefined && { port }), ...as, name: as?.name ?? name };
}
