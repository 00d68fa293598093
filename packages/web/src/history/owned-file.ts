/**
 * One process for a file: the owner listens on a socket beside it. The kernel closes that socket with the process, so a
 * killed owner is not mistaken for a living one.
 */
import { unlinkSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { Fault } from "../fault.ts";
import { isTooLong, pathTrouble, tooLong } from "../listen-fault.ts";

export interface OwnedFile {
  release(): Promise<void>;
}

/** How often a newcomer looks whether the present owner has ended, and how long it waits between. */
const TRIES = 20;
const PAUSE_MS = 250;

/** Waits for the present owner to end: a restart overlaps. Throws HISTORY_FAILED if it does not. */
export async function lockOf(path: string, tries: number = TRIES): Promise<OwnedFile> {
  const socket = `${path}.owner`;
  if (isTooLong(socket)) {
    throw new Fault("HISTORY_FAILED", `the history ${path} needs the socket ${socket} beside it: ${tooLong}`);
  }
  for (let left = tries; left > 0; left--) {
    const server = await listen(path, socket);
    if (server !== undefined) {
      return { release: () => new Promise((resolve) => server.close(() => resolve())) };
    }
    if (await answers(socket)) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    else remove(socket);
  }
  throw new Fault("HISTORY_FAILED", `another process has the history ${path}; stop it, or choose another --history`);
}

/** Undefined if something is at that path already. */
function listen(path: string, socket: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((connection) => connection.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") return resolve(undefined);
      reject(new Fault("HISTORY_FAILED", `the history ${path} cannot be kept: ${pathTrouble(socket, error)}`));
    });
    server.listen(socket, () => {
      server.unref();
      resolve(server);
    });
  });
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}

function remove(socket: string): void {
  try {
    unlinkSync(socket);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}
