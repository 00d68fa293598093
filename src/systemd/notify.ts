/**
 * sd_notify(3) messages to the service manager, sent with unix-dgram. That addon must be built for the running Node.
 * Newer package managers do not build it by themselves (hazard 23). Without it, our own addon sends the messages:
 * systemd stops a Type=notify service that sends none.
 */
import { createRequire } from "node:module";
import { constants } from "node:os";
import { type Native, native } from "../native.ts";
import { ManagerSocket, managerAddress } from "./manager-socket.ts";

const { EAGAIN } = constants.errno;

/** Sends one notification, such as `READY=1\nSTATUS=…`. Does nothing without a service manager. */
export type Notify = (state: string) => void;

interface DgramSocket {
  send(message: Buffer, offset: number, length: number, path: string, callback: (error?: DgramError) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  close(): void;
}

type DgramError = Error & { readonly code?: unknown };

/** unix-dgram reports a full queue as 1 or -EAGAIN. */
const FULL: readonly unknown[] = [1, -EAGAIN];

/**
 * A notifier for $NOTIFY_SOCKET (a path, or an abstract `@name`). It calls `onProblem` with a sentence when it cannot
 * send a message.
 */
export function createNotify(
  onProblem: (message: string) => void,
  env: NodeJS.ProcessEnv = process.env,
  sys: Native = native,
): Notify {
  const address = managerAddress(env);
  if (typeof address === "string") onProblem(address);
  if (address === undefined || typeof address === "string") return () => undefined;
  const name = env["NOTIFY_SOCKET"] ?? "";
  const manager = new ManagerSocket(address, sys);
  const byAddon: Notify = (state) => {
    try {
      manager.send(state);
    } catch (error) {
      onProblem(`cannot notify ${name}: ${error instanceof Error ? error.message : error}`);
    }
  };
  // unix-dgram passes the path as a C string, so it cannot send to an abstract name, which starts with NUL.
  if (address.abstract) return byAddon;
  const createSocket = loadUnixDgram();
  if (createSocket === undefined) return byAddon;
  return (state) => {
    const socket = createSocket("unix_dgram");
    socket.on("error", (error) => onProblem(`cannot notify ${name}: ${error.message}`));
    const message = Buffer.from(state);
    socket.send(message, 0, message.length, address.path, (error) => {
      // unix-dgram never waits when the queue is full. Our addon does, which keeps the messages in order.
      if (error !== undefined && FULL.includes(error.code)) byAddon(state);
      else if (error) onProblem(`cannot notify ${name}: ${error.message}`);
      socket.close();
    });
  };
}

function loadUnixDgram(): ((type: "unix_dgram") => DgramSocket) | undefined {
  try {
    const module = createRequire(import.meta.url)("unix-dgram") as {
      createSocket: (type: "unix_dgram") => DgramSocket;
    };
    return module.createSocket;
  } catch {
    return undefined;
  }
}
