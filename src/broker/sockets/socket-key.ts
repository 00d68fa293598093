/** The key of a socket: everything that is fixed at bind(2). A socket with a wanted key can stay open. */

import { fixedAtBind, type SocketOptions } from "../../config/keys/socket-options.ts";
import { formatListenAddress, type ListenAddress } from "../../net/address.ts";

/** The same text as in earlier versions: its hash is in the name of each stored socket (record/stored-name.ts). */
export function socketKey(listen: ListenAddress, options: SocketOptions): string {
  const { device = "", reusePort = false, freebind = false } = options;
  const v6only = listen.address.family === "ipv6" && !listen.dualStack && options.v6only;
  const first = `${formatListenAddress(listen)} ${device} ${v6only} ${reusePort} ${freebind}`;
  return [first, ...fixedAtBind(options, ["device", "v6only", "reusePort", "freebind"])].join(" ");
}
