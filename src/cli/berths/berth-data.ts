/** What the servers of a berth wrote into the state folder: below its root, and its log. It never touches an image. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { logNames } from "../logs/log-files.ts";

/** The paths that exist: the folder below the root first, then the files of the log. */
export function dataOf(berth: string, state: string): readonly string[] {
  const paths = [join(state, "roots", berth), ...logNames(berth).map((name) => join(state, "logs", name))];
  return paths.filter((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined);
}

/**
 * Deletes them for good. By rm(1), which never follows a link that a server has put in the place of a folder, not even
 * at the last moment. Throws SYSTEM_ERROR.
 */
export async function deleteData(paths: readonly string[]): Promise<void> {
  if (paths.length === 0) return;
  const rm = spawn("rm", ["-rf", "--one-file-system", "--", ...paths], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  rm.stderr.setEncoding("utf8").on("data", (part: string) => {
    said = (said + part).slice(0, 1000);
  });
  const [status] = await once(rm, "close");
  if (status === 0) return;
  const [first = `rm ended with status ${status}`] = said.split("\n");
  throw new BerthError("SYSTEM_ERROR", `the berth is removed, but not all that its servers wrote: ${first}`);
}
