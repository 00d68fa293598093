/** Connecting to a UNIX stream socket without blocking: a full backlog is waited for, within a deadline. */
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { abortError, BerthError, check, SysError } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { native } from "../native.ts";
import { AF_UNIX, encodeSockaddr, UNIX_PATH_MAX } from "../net/address.ts";
import { SOCK_STREAM } from "../net/transport.ts";

const { EAGAIN, ECONNREFUSED, ENOENT } = constants.errno;

export interface UnixConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds to wait while the listener's backlog is full. Default 5000. */
  readonly timeout?: number;
}

/**
 * Connects to `path`; one that begins with `@` is abstract (unix(7)).
 * Throws BROKER_UNREACHABLE when nobody listens there, SYSTEM_ERROR otherwise.
 */
export async function connectUnix(path: string, options: UnixConnectOptions = {}): Promise<FdHandle> {
  const abstract = path.startsWith("@");
  const address = { family: "unix", path: abstract ? path.slice(1) : path, abstract } as const;
  if (Buffer.byteLength(address.path) > UNIX_PATH_MAX) {
    throw new BerthError(
      "BROKER_UNREACHABLE",
      `${path} is longer than a UNIX socket address can be (${UNIX_PATH_MAX} bytes)`,
    );
  }
  const sockaddr = encodeSockaddr(address);
  const handle = FdHandle.adopt(check("socket", native.socket(AF_UNIX, SOCK_STREAM, 0)));
  try {
    const deadline = performance.now() + (options.timeout ?? 5000);
    for (;;) {
      if (options.signal?.aborted) throw abortError(options.signal);
      const result = native.connect(handle.fd, sockaddr);
      if (result >= 0) return handle;
      // A stream socket that does not block says EAGAIN when the backlog is full, and is as it was (connect(2)).
      if (result !== -EAGAIN || performance.now() > deadline) throw unreachable(path, -result);
      await delay(2);
    }
  } catch (error) {
    handle.close();
    throw error;
  }
}

function unreachable(path: string, errno: number): BerthError {
  const cause = new SysError("connect", errno, path);
  const why =
    errno === ENOENT
      ? "there is no such socket"
      : errno === ECONNREFUSED
        ? "nobody listens on it"
        : errno === EAGAIN
          ? "its backlog stayed full"
          : cause.errnoName;
  return new BerthError("BROKER_UNREACHABLE", `cannot reach a broker at ${path}: ${why}; is berthd running?`, {
    cause,
  });
}
