/** `berth fleet`: becomes berth-fleet, of the package berthd-fleet, as git runs git-NAME for `git NAME`. */
import { dirname } from "node:path";
import type { Command } from "commander";
import { BerthError, SysError } from "../../errors.ts";
import { isExecutable } from "../../launcher-path.ts";
import { native } from "../../native.ts";
import { programPath } from "../explain/program-path.ts";

const PROGRAM = "berth-fleet";

export function addFleet(program: Command): void {
  program
    .command("fleet")
    .description("berths on many hosts: runs berth-fleet, of the package berthd-fleet")
    .argument("[words...]", "its command and options; --help lists them")
    // All options are of berth-fleet, also --help.
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action((words: string[]) => {
      const path = fleetPath();
      const env = Object.entries(process.env).map(([variable, value]) => `${variable}=${value}`);
      throw new SysError("execve", -native.exec(path, [PROGRAM, ...words], env, 0), path);
    });
}

/** Beside this `berth`, else in PATH. Throws SYSTEM_ERROR. */
function fleetPath(): string {
  const own = dirname(process.argv[1] ?? "");
  const path = programPath(PROGRAM, process.cwd(), `${own}:${process.env["PATH"] ?? ""}`);
  if (path !== PROGRAM && isExecutable(path)) return path;
  throw new BerthError(
    "SYSTEM_ERROR",
    `there is no ${PROGRAM} beside berth or in PATH; to install it: npm install --global berthd-fleet`,
  );
}
