/**
 * sd_notify(3) messages to the service manager, by unix-dgram. That addon must be built for the Node that runs, which
 * newer package managers do not do by themselves; without it the broker works and systemd is told nothing (hazard 23).
 */
import { createRequire } from "node:module";

/** Sends one notification, such as `READY=1\nSTATUS=…`; does nothing where no service manager listens. */
export type Notify = (state: string) => void;

interface DgramSocket {
  send(message: Buffer, offset: number, length: number, path: string, callback: (error?: Error) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  close(): void;
}

/**
 * A notifier for $NOTIFY_SOCKET (a path, or an abstract `@name`). `onProblem` hears, once each, in a sentence, why
 * messages cannot be sent.
 */
export function createNotify(onProblem: (message: string) => void, env: NodeJS.ProcessEnv = process.env): Notify {
  const address = env["NOTIFY_SOCKET"];
  if (address === undefined || address === "") return () => undefined;
  // unix(7): an abstract name begins with NUL, which sd_notify(3) writes as "@".
  const path = address.startsWith("@") ? `\0${address.slice(1)}` : address;
  let createSocket: (type: "unix_dgram") => DgramSocket;
  try {
    ({ createSocket } = createRequire(import.meta.url)("unix-dgram") as {
      createSocket: (type: "unix_dgram") => DgramSocket;
    });
  } catch {
    onProblem(
      `unix-dgram is not built for Node ${process.version}, so the service manager is told nothing: ` +
        "run `npm rebuild unix-dgram`, which needs python3, make and g++, or use Type=exec in the unit",
    );
    return () => undefined;
  }
  return (state) => {
    const socket = createSocket("unix_dgram");
    socket.on("error", (error) => onProblem(`cannot notify ${address}: ${error.message}`));
    const message = Buffer.from(state);
    socket.send(message, 0, message.length, path, (error) => {
      if (error) onProblem(`cannot notify ${address}: ${error.message}`);
      socket.close();
    });
  };
}
