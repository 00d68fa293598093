/**
 * The control socket: given by the program, passed by a .socket unit, left by an earlier broker, or bound here.
 * listener.ts accepts the connections.
 */
import { constants } from "node:os";
import { resolve } from "node:path";
import type { SocketOptions } from "../../../config/keys/socket-options.ts";
import { BerthError, SysError } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import type { Native } from "../../../native.ts";
import type { ListenAddress } from "../../../net/address.ts";
import { SO_PASSRIGHTS, SOL_SOCKET } from "../../../net/socket-constants.ts";
import { boundAddress } from "../../../net/socket-queries.ts";
import { HeldSocket } from "../held-socket.ts";
import type { NamedSocket } from "../named-socket.ts";
import { describePassed, type PassedSocket, passedSocket } from "../passed-socket.ts";
import { openBrokerSocket } from "./broker-socket.ts";

const CONTROL_BACKLOG = 4096;
/** Names that units give it: the interface's name, the usual unit's name, and systemd's name for a Varlink socket. */
const NAMES: readonly string[] = ["io.berthd.Broker", "berthd.socket", "varlink"];

/** While the broker starts, it tries each source in turn: {@link take}, {@link takeSole}, {@link open}. */
export class ControlSocket {
  readonly #wanted: string | FdHandle;
  readonly #mode: number;
  readonly #sys: Native;
  #socket: FdHandle | HeldSocket | undefined;
  #keepsDescriptorsOut = false;

  /** `wanted` is its path, or the socket itself, which this object then owns. */
  constructor(wanted: string | FdHandle, mode: number, sys: Native) {
    this.#wanted = wanted;
    this.#mode = mode;
    this.#sys = sys;
    if (typeof wanted !== "string") this.#socket = wanted;
  }

  /** If none was given, takes the passed socket with its name. Returns the others. Throws DESCRIPTOR_MISMATCH. */
  take(passed: readonly PassedSocket[]): PassedSocket[] {
    const named = this.#socket === undefined ? namedControl(passed) : undefined;
    if (named !== undefined) this.#socket = named.handle;
    if (this.#socket instanceof FdHandle) checkControl(named ?? passedSocket("control", this.#socket, this.#sys));
    return passed.filter((one) => one !== named);
  }

  /** If there is none yet, takes the only passed socket that no berth uses. Throws DESCRIPTOR_MISMATCH. */
  takeSole(passed: readonly PassedSocket[], unclaimed: readonly PassedSocket[]): void {
    const sole = this.#socket === undefined ? soleControl(passed, unclaimed) : undefined;
    if (sole === undefined) return;
    checkControl(sole);
    this.#socket = sole.handle;
  }

  /**
   * If there is none yet, takes over the socket of an earlier broker from `left`, or binds it. Returns its descriptor,
   * borrowed. Throws BROKER_RUNNING.
   */
  open(left: readonly PassedSocket[]): number {
    const wanted = this.#wanted;
    this.#socket ??= typeof wanted === "string" ? ownControl(wanted, this.#mode, left, this.#sys) : wanted;
    const { fd } = this.#socket;
    this.#keepsDescriptorsOut = this.#sys.setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, 0) >= 0;
    return fd;
  }

  /** Whether a new connection brings no descriptors unless it is allowed to (SO_PASSRIGHTS, Linux 6.16). */
  get keepsDescriptorsOut(): boolean {
    return this.#keepsDescriptorsOut;
  }

  /** The socket, if this broker or an earlier one bound it. */
  get own(): HeldSocket | undefined {
    return this.#socket instanceof HeldSocket ? this.#socket : undefined;
  }

  /** As {@link own}, with its name in a store. */
  get named(): NamedSocket[] {
    return this.own === undefined ? [] : [{ name: "control", socket: this.own }];
  }

  /** The path to bind, if it has none yet. */
  get unbound(): string | undefined {
    const wanted = this.#wanted;
    return typeof wanted === "string" && this.#socket === undefined && !wanted.startsWith("@") ? wanted : undefined;
  }

  /** Where it is, for people. */
  get where(): string {
    const wanted = this.#wanted;
    return this.#socket instanceof FdHandle || typeof wanted !== "string" ? "the socket it was given" : wanted;
  }

  /** Its address, for a launcher that the broker starts. */
  get path(): string {
    const wanted = this.#wanted;
    const socket = this.#socket;
    if (typeof wanted === "string" && !(socket instanceof FdHandle))
      return wanted.startsWith("@") ? wanted : resolve(wanted);
    const address = socket === undefined ? undefined : boundAddress(socket.fd, this.#sys);
    return address?.family === "unix" ? `${address.abstract ? "@" : ""}${address.path}` : "";
  }

  /** Closes it. Its stored copy stays for the next broker. Idempotent. */
  close(): void {
    if (this.own !== undefined) this.own.retire();
    else this.#socket?.close();
    this.#socket = undefined;
  }
}

/** The passed socket with the control socket's name, whatever its kind. */
function namedControl(passed: readonly PassedSocket[]): PassedSocket | undefined {
  return passed.find(({ name, stored }) => stored === undefined && NAMES.includes(name));
}

/** The only passed socket, apart from those of the store, if no berth uses it. */
function soleControl(passed: readonly PassedSocket[], unclaimed: readonly PassedSocket[]): PassedSocket | undefined {
  const [only, ...others] = passed.filter(({ stored }) => stored === undefined);
  return only !== undefined && others.length === 0 && unclaimed.includes(only) ? only : undefined;
}

/** Closes any socket but a listening UNIX stream socket and throws: only there does the kernel tell who the peer is. */
function checkControl(passed: PassedSocket): void {
  const { is, handle } = passed;
  if (typeof is !== "string" && is.kind === "stream" && is.address.family === "unix") return;
  handle.close();
  throw new BerthError(
    "DESCRIPTOR_MISMATCH",
    `the control socket that was passed is ${describePassed(passed)}, not a listening UNIX stream socket; write ListenStream=/run/berthd/io.berthd.Broker in its unit`,
  );
}

/** The socket at `path` (`@name` is abstract): the one of an earlier broker in `passed`, or a new one. */
function ownControl(path: string, mode: number, passed: readonly PassedSocket[], sys: Native): HeldSocket {
  const abstract = path.startsWith("@");
  const address = { family: "unix", path: abstract ? path.slice(1) : path, abstract } as const;
  const listen: ListenAddress = { kind: "stream", address, dualStack: false };
  const options: SocketOptions = { backlog: CONTROL_BACKLOG, mode, v6only: true };
  try {
    return openBrokerSocket(listen, options, passed, sys);
  } catch (cause) {
    if (!(cause instanceof SysError) || cause.errno !== constants.errno.EADDRINUSE) throw cause;
    throw new BerthError("BROKER_RUNNING", `another program already listens on ${path}`, { cause });
  }
}
