/** The broker's own socket: passed by a .socket unit, left by an earlier broker, or bound here. */
import { constants } from "node:os";
import type { ListenAddress } from "../address.ts";
import type { SocketOptions } from "../config/spec.ts";
import { BerthError, SysError } from "../errors.ts";
import type { Native } from "../native.ts";
import { HeldSocket, socketKey } from "./held-socket.ts";
import { describeOffer, fits, type OfferedSocket } from "./offered-socket.ts";

const CONTROL_BACKLOG = 4096;
/** What units call it: the interface's name, the usual unit's, and what systemd calls a Varlink socket. */
const NAMES: readonly string[] = ["io.berthd.Broker", "berthd.socket", "varlink"];

/** The one that bears the control socket's name, whatever it is. */
export function namedControl(offered: readonly OfferedSocket[]): OfferedSocket | undefined {
  return offered.find(({ name, stored }) => stored === undefined && NAMES.includes(name));
}

/** The one that can be nothing else: all that was passed beside what came from the store, and no berth's. */
export function soleControl(
  offered: readonly OfferedSocket[],
  declined: readonly OfferedSocket[],
): OfferedSocket | undefined {
  const [only, ...others] = offered.filter(({ stored }) => stored === undefined);
  return only !== undefined && others.length === 0 && declined.includes(only) ? only : undefined;
}

/** Of a peer on any other socket than a listening UNIX stream one the kernel knows no credentials. Closes what is refused. */
export function checkControl(offer: OfferedSocket): void {
  const { is, handle } = offer;
  if (typeof is !== "string" && is.kind === "stream" && is.address.family === "unix") return;
  handle.close();
  throw new BerthError(
    "DESCRIPTOR_MISMATCH",
    `the control socket that was passed is ${describeOffer(offer)} and no listening UNIX stream socket; write ListenStream=/run/berthd/io.berthd.Broker in its unit`,
  );
}

/** The socket at `path`, an `@name` for an abstract one: that of an earlier broker, which `offered` may have, or a new one. */
export function ownControl(path: string, mode: number, offered: readonly OfferedSocket[], sys: Native): HeldSocket {
  const abstract = path.startsWith("@");
  const address = { family: "unix", path: abstract ? path.slice(1) : path, abstract } as const;
  const listen: ListenAddress = { kind: "stream", address, dualStack: false };
  const options: SocketOptions = { backlog: CONTROL_BACKLOG, mode, v6only: true };
  const left = offered.find((offer) => fits(offer, listen, options, socketKey(listen, options), sys));
  if (left !== undefined) {
    const socket = HeldSocket.adopt(left, listen, options, sys);
    if (socket.reachable) return socket;
    socket.close(); // somebody has removed its path
  }
  try {
    return HeldSocket.open(listen, options, sys);
  } catch (cause) {
    if (!(cause instanceof SysError) || cause.errno !== constants.errno.EADDRINUSE) throw cause;
    throw new BerthError("BROKER_RUNNING", `another program already serves on ${path}`, { cause });
  }
}
