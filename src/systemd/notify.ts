/**
 * sd_notify(3) messages to the service manager, by unix-dgram. That addon must be built for the Node that runs, which
 * newer package managers do not do by themselves (hazard 23): where it is not, ours sends them, because a service of
 * Type=notify that says nothing is stopped.
 */
import { createRequire } from "node:module";
import { constants } from "node:os";
import { type Native, native } from "../native.ts";
import { ManagerSocket, managerAddress } from "./manager-socket.ts";

const { EAGAIN } = constants.errno;

/** Sends one notification, such as `READY=1\nSTATUS=…`; does nothing where no service manager listens. */
export type Notify = (state: string) => void;

interface DgramSocket {
  send(message: Buffer, offset: number, length: number, path: string, callback: (error?: DgramError) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  close(): void;
}

type DgramError = Error & { readonly code?: unknown };

/** What unix-dgram calls a full queue: 1, or -EAGAIN. */
const FULL: readonly unknown[] = [1, -EAGAIN];

/**
 * A notifier for $NOTIFY_SOCKET (a path, or an abstract `@name`). `onProblem` hears, in a sentence, why a message could
 * not be sent.
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
  // unix-dgram takes a path for a C string, which an abstract name is not.
  if (address.abstract) return byAddon;
  const createSocket = loadUnixDgram();
  if (createSocket === undefined) return byAddon;
  return (state) => {
    const socket = createSocket("unix_dgram");
    socket.on("error", (error) => onProblem(`cannot notify ${name}: ${error.message}`));
    const message = Buffer.from(state);
    socket.send(message, 0, message.length, address.path, (error) => {
      // It never waits for room, and what is not said now would be said out of order.
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
