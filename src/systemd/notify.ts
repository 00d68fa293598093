/**
 * sd_notify(3) messages to the service manager, by unix-dgram. That addon must be built for the Node that runs, which
 * newer package managers do not do by themselves; without it the broker works and systemd is told nothing (hazard 23).
 */
import { createRequire } from "node:module";
import { AF_UNIX, encodeSockaddr, SOCK_DGRAM } from "../address.ts";
import { check } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { native } from "../native.ts";

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
  // unix-dgram takes a path for a C string, which an abstract name is not.
  if (address.startsWith("@")) return (state) => notifyAbstract(address, state, onProblem);
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
    socket.send(message, 0, message.length, address, (error) => {
      if (error) onProblem(`cannot notify ${address}: ${error.message}`);
      socket.close();
    });
  };
}

function notifyAbstract(address: string, state: string, onProblem: (message: string) => void): void {
  try {
    using socket = FdHandle.adopt(check("socket", native.socket(AF_UNIX, SOCK_DGRAM, 0)));
    const sockaddr = encodeSockaddr({ family: "unix", path: address.slice(1), abstract: true });
    check("connect", native.connect(socket.fd, sockaddr), address);
    check("sendmsg", native.sendmsg(socket.fd, Buffer.from(state), 0, new Int32Array(0), 0), address);
  } catch (error) {
    onProblem(`cannot notify ${address}: ${error instanceof Error ? error.message : error}`);
  }
}
