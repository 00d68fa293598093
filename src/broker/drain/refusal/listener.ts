/** A listening socket to which new connections of other addresses are steered. */
import { SysError } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import type { Native } from "../../../native.ts";
import { encodeSockaddr, familyNumber, type InetAddress } from "../../../net/address.ts";
import { IP_BIND_ADDRESS_NO_PORT, IPPROTO_IP } from "../../../net/socket-constants.ts";
import { SOCK_STREAM } from "../../../net/transport.ts";

/** As many as a doorman answers at a time. */
const BACKLOG = 64;

/**
 * On a port of loopback that the kernel chooses. Who connects there reads what players read who are steered to it.
 * Returns why there is none, as a sentence's end.
 */
export function openListener(family: InetAddress["family"], sys: Native): FdHandle | string {
  const address: InetAddress = { family, host: family === "ipv4" ? "127.0.0.1" : "::1", port: 0 };
  const number = sys.socket(familyNumber(address), SOCK_STREAM, 0);
  if (number < 0) return new SysError("socket", -number).message;
  const socket = FdHandle.adopt(number, sys);
  const done = prepare(number, address, sys);
  if (done === undefined) return socket;
  socket.close();
  return done;
}

function prepare(fd: number, address: InetAddress, sys: Native): string | undefined {
  const bound = sys.bind(fd, encodeSockaddr(address));
  if (bound < 0) return new SysError("bind", -bound).message;
  // After bind(2) it does nothing. Connections inherit it: so they are not taken for players (demand/connections.ts).
  sys.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  const listening = sys.listen(fd, BACKLOG);
  return listening < 0 ? new SysError("listen", -listening).message : undefined;
}
