/**
 * Every error this package throws, and the codes people may match on. A refusal that the protocol documents is a
 * value (`Refusal`), never an exception; what is thrown is a fault. docs/errors.md has one section for each code.
 */
import { constants } from "node:os";

/** Codes of faults. They are API: renaming one is a breaking change. Each is explained in docs/errors.md. */
export type ErrorCode =
  | "ABORTED"
  | "ADDON_MISSING"
  | "BROKER_RUNNING"
  | "BROKER_UNREACHABLE"
  | "CONFIG_INVALID"
  | "CONNECTION_CLOSED"
  | "DESCRIPTOR_CLOSED"
  | "DESCRIPTOR_MISMATCH"
  | "DESCRIPTORS_TRUNCATED"
  | "IMAGE_ABSENT"
  | "IMAGE_IN_USE"
  | "IMPORT_FAILED"
  | "LAUNCHER_MISSING"
  | "MESSAGE_TOO_LARGE"
  | "PROTOCOL_ERROR"
  | "RANGE_IN_USE"
  | "RANGE_UNAVAILABLE"
  | "REFUSED"
  | "STATE_ABSENT"
  | "STATE_BUSY"
  | "STATE_DAMAGED"
  | "SYSCALL_MISSING"
  | "SYSTEM_ERROR"
  | "TENANCY_CHANGED"
  | "TOO_MANY_DESCRIPTORS"
  | "USAGE"
  | "WEB_UNREACHABLE";

/** A fault of ours or of the machine: what was tried, on what, why it failed, what to do. */
export class BerthError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "BerthError";
    this.code = code;
  }
}

// Of two names for one number the first is the usual one: EAGAIN goes before EWOULDBLOCK.
const errnoNames = new Map<number, string>(
  Object.entries(constants.errno)
    .reverse()
    .map(([name, value]) => [value, name]),
);

/** The symbolic name of an errno value, "EAGAIN" for 11; `errno 4095` for one the platform does not name. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`;
}

/** A system call that failed: `syscall`, the positive `errno`, its name, and the path or address if there was one. */
export class SysError extends BerthError {
  readonly syscall: string;
  readonly errno: number;
  readonly errnoName: string;
  readonly path: string | undefined;

  /** `remedy` says why the call failed and what to do, where that is known. */
  constructor(syscall: string, errno: number, path?: string, remedy?: string) {
    const what = `${syscall}${path === undefined ? "" : ` ${path}`}: ${errnoName(errno)}`;
    super("SYSTEM_ERROR", remedy === undefined ? what : `${what}; ${remedy}`);
    this.name = "SysError";
    this.syscall = syscall;
    this.errno = errno;
    this.errnoName = errnoName(errno);
    this.path = path;
  }
}

/** A Varlink error reply, as a client sees it: the broker understood the call and said no. */
export class RefusedError extends BerthError {
  /** The Varlink error, e.g. `io.berthd.Broker.BerthOccupied`. */
  readonly error: string;
  readonly parameters: Readonly<Record<string, unknown>>;

  constructor(error: string, parameters: Readonly<Record<string, unknown>>) {
    const message = parameters["message"];
    super("REFUSED", typeof message === "string" ? message : `${error} ${JSON.stringify(parameters)}`);
    this.name = "RefusedError";
    this.error = error;
    this.parameters = parameters;
  }
}

/** What a system call fails with while the process or the host is short of descriptors, memory or threads. */
const SCARCITY: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);

/** Whether a call failed only because something is short just now. That says nothing about what it was asked to do. */
export function isScarcity(error: unknown): error is SysError {
  return error instanceof SysError && SCARCITY.has(error.errnoName);
}

/** What a person is told of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Passes a non-negative result of a native call on, and turns a negative one (`-errno`) into a {@link SysError}. */
export function check(syscall: string, result: number, path?: string): number {
  if (result < 0) throw new SysError(syscall, -result, path);
  return result;
}

/** The error of an aborted wait: the signal's own reason when it is an Error, else one with code ABORTED. */
export function abortError(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new BerthError("ABORTED", "the operation was aborted", { cause: signal.reason });
}
