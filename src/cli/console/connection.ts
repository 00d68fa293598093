/** A connection to the keeper of a console. */

import { once } from "node:events";
import { lstatSync, statSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { BerthError, RefusedError } from "../../errors.ts";
import { type ConsoleEnd, FrameReader, inputFrames, sizeFrame } from "../../net/console-frames.ts";
import { consoleFolder } from "../../net/socket-path.ts";
import { locateBerth } from "../berths/berth-records.ts";
import type { BrokerChoice } from "../options.ts";

/** A server that has a console. */
export interface ConsoleServer {
  readonly berth: string;
  readonly lease: string;
  readonly pid: number;
  /** Where the keeper listens. */
  readonly path: string;
}

/** The present server of the berth. Throws BerthVacant as a broker does. */
export async function findConsole(berth: string, choice: BrokerChoice): Promise<ConsoleServer> {
  const { record, path } = await locateBerth(berth, choice);
  const { lease } = record;
  if (!lease) {
    const message = `nobody has berth ${berth}; to start its server: berth start ${berth}`;
    throw new RefusedError("io.berthd.Broker.BerthVacant", { berth, message });
  }
  const folder = consoleFolder(path);
  checkFolder(folder, path);
  return { berth, lease: lease.id, pid: lease.pid, path: join(folder, lease.id) };
}

/**
 * Another user may have made the folder first, for example beside a control socket in /tmp, and answer there. Its owner
 * must be root, or the owner of the control socket.
 */
function checkFolder(folder: string, control: string): void {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) return; // there is no console at all
  const isTrusted = stat.uid === 0 || stat.uid === statSync(control, { throwIfNoEntry: false })?.uid;
  if (stat.isDirectory() && isTrusted && (stat.mode & 0o022) === 0) return;
  const message = `cannot trust the consoles in ${folder}: it is not the broker's own folder; remove it, or start berthd with --socket in a folder of its own`;
  throw new BerthError("SYSTEM_ERROR", message);
}

/** Gets output, and whether it is from before the connection. */
export type Hear = (bytes: Buffer, isOld: boolean) => void;

export class ConsoleConnection implements Disposable {
  /** Resolves when the connection ends, unless this side closes it. */
  readonly ended: Promise<ConsoleEnd>;
  readonly #socket: Socket;

  private constructor(socket: Socket, hear: Hear) {
    this.#socket = socket;
    const reader = new FrameReader();
    this.ended = new Promise((resolve) => {
      socket.on("data", (bytes: Buffer) => {
        for (const frame of reader.push(bytes)) {
          if (frame.kind === "output") hear(frame.bytes, frame.isOld);
          else resolve(frame.end);
        }
      });
      socket.on("close", () => resolve("lost"));
    });
    socket.on("error", () => socket.destroy());
  }

  /** Throws CONFIG_INVALID where the server has no console, and PermissionDenied. */
  static async connect(server: ConsoleServer, hear: Hear): Promise<ConsoleConnection> {
    const socket = createConnection({ path: server.path });
    try {
      await once(socket, "connect");
    } catch (error) {
      throw explain(error, server);
    }
    return new ConsoleConnection(socket, hear);
  }

  type(bytes: Buffer): void {
    this.#socket.write(inputFrames(bytes));
  }

  resize(rows: number, columns: number): void {
    this.#socket.write(sizeFrame(rows, columns));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Says why the connection ended, where that is no ordinary end. */
export function endError(end: Exclude<ConsoleEnd, "ended">, berth: string): BerthError {
  const again = `to attach again: berth console ${berth}`;
  const messages = {
    slow: `more than 64 KiB of output waited for this terminal, so the console closed the connection; ${again}`,
    full: `the console of berth ${berth} has 16 readers already; close one, then try again: berth console ${berth}`,
    lost: `the console of berth ${berth} closed the connection without a word; ${again}`,
  };
  return new BerthError("CONNECTION_CLOSED", messages[end]);
}

function explain(error: unknown, { berth, pid, path }: ConsoleServer): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EACCES") {
    const message = `only root, the broker's user and the user who started pid ${pid} may use the console of berth ${berth}; try: sudo berth console ${berth}`;
    return new RefusedError("org.varlink.service.PermissionDenied", { message });
  }
  if (code !== "ENOENT" && code !== "ECONNREFUSED") {
    const cause = error instanceof Error ? error.message : String(error);
    return new BerthError("SYSTEM_ERROR", `cannot connect to the console of berth ${berth} at ${path}: ${cause}`, {
      cause: error,
    });
  }
  const message = `the server of berth ${berth} (pid ${pid}) has no console: it runs on a terminal of its own, or was started without server.console = true; set that, then: berth restart ${berth}`;
  return new BerthError("CONFIG_INVALID", message, { cause: error });
}
