/**
 * Starts a server where systemd does not run. It has a session and a log of its own, so it outlives the command and the
 * terminal. Nothing starts it again.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { BerthError } from "../errors.ts";
import { launcherPath } from "../launcher-path.ts";
import { makeFolders } from "../make-folders.ts";
import { printable } from "../printable.ts";
import type { ServiceEnd } from "../systemd/manager.ts";
import { askBroker } from "./ask.ts";
import type { BrokerChoice } from "./options.ts";
import { awaitServer, type Started } from "./started.ts";
import { stateFolder } from "./state-folder.ts";

/** Whether systemd runs here: sd_booted(3). */
export function hasSystemd(): boolean {
  return existsSync("/run/systemd/system");
}

/** Resolves as {@link awaitServer}. Throws SYSTEM_ERROR if there can be no log. */
export async function startHere(
  name: string,
  choice: BrokerChoice,
  signal: AbortSignal,
  former?: number,
): Promise<Started> {
  const path = await askBroker(choice, async (asked) => asked.path);
  const socket = path.startsWith("@") ? path : resolve(path);
  const logs = join(await stateFolder(choice), "logs");
  mustBeWritable(logs, name);
  let end: ServiceEnd | undefined;
  const server = spawn(launcherPath(), ["--socket", socket, "--log", join(logs, `${name}.log`), name], {
    detached: true,
    cwd: "/",
    stdio: "ignore",
  });
  server.unref();
  server.on("error", (error) => {
    end = { reason: `cannot run berth-launch: ${error.message}` };
  });
  server.on("exit", (status, by) => {
    end = { reason: by === null ? `it ended with status ${status}` : `it was ended by ${by}` };
  });
  return await awaitServer(name, { endOf: async () => end }, { ...choice, socket }, signal, former);
}

function mustBeWritable(folder: string, name: string): void {
  try {
    makeFolders(dirname(folder), 0o700);
    makeFolders(folder, 0o750);
    accessSync(folder, constants.W_OK);
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new BerthError(
      "SYSTEM_ERROR",
      `cannot write the server's log to ${printable(folder)}: ${why}; start it as the broker's user, or in this terminal: berth run ${name}`,
      { cause: error },
    );
  }
}
