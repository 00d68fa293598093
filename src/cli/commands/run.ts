/**
 * `berth run NAME`: replaces this process with berth-launch, which becomes the server. It never opens or writes to the
 * standard streams: the server must get them unchanged.
 */
import { type Command, Option } from "commander";
import { BerthError, SysError } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";
import { native } from "../../native.ts";
import { socketPaths } from "../../net/socket-path.ts";
import { listenFds } from "../../systemd/activation.ts";
import { connectUnix } from "../../varlink/connect.ts";
import { collect, type SocketChoice, socketOption } from "../options.ts";

interface RunOptions extends SocketChoice {
  readonly replace?: string;
  readonly setenv?: readonly string[];
  readonly timeout?: string;
  readonly dryRun?: true;
}

const help = `
The server gets the berth's descriptors from fd 3 upward (LISTEN_FDS, LISTEN_FDNAMES), no privilege, and this
process's pid. Its exit status is the server's own; before it runs: 1 refused, 100 usage, 111 system.

Examples:
  berth run arena@bob
  berth run --dry-run arena@bob
  berth run --setenv MAP=dm6 arena@bob -- /usr/games/ioq3ded +exec server.cfg`;

export function addRun(program: Command): void {
  program
    .command("run")
    .description("start a server without privilege, its sockets already open")
    .argument("<berth>", "the berth to run in")
    .argument("[command...]", "what to run (default: the berth's own server.command)")
    .addOption(socketOption())
    .addOption(new Option("--replace <how>", "take over from a present tenant").choices(["no", "try", "must"]))
    .option("--setenv <name=value>", "set a variable for the server; may be repeated", collect)
    .option("--timeout <seconds>", "wait this long for the broker (default: 10)")
    .option("--dry-run", "print what would be done, and release the berth")
    // Options after the berth belong to the server.
    .passThroughOptions()
    .addHelpText("after", help)
    .action(async (name: string, words: string[], _options: RunOptions, command: Command) => {
      const passed = countPassed(process.env);
      const path = launcherPath();
      const argv = ["berth-launch", ...(await launcherArguments(name, words, command.optsWithGlobals<RunOptions>()))];
      const env = Object.entries(process.env).map(([variable, value]) => `${variable}=${value}`);
      throw new SysError("execve", -native.exec(path, argv, env, passed), path);
    });
}

async function launcherArguments(name: string, words: readonly string[], options: RunOptions): Promise<string[]> {
  const { replace, setenv = [], timeout, dryRun, socket } = options;
  const [first = ""] = words;
  if (first.startsWith("-") && first !== "--") {
    const message =
      `${first} comes after the berth's name; write options before it: berth run ${first} ${name}. ` +
      `To run a program of that name: berth run ${name} -- ${first}`;
    throw new BerthError("USAGE", message);
  }
  const server = first === "--" ? words.slice(1) : words;
  return [
    "--socket",
    socket ?? (await reachableSocket(socketPaths())),
    ...(replace === undefined ? [] : ["--replace", replace]),
    ...setenv.flatMap((variable) => ["--setenv", variable]),
    ...(timeout === undefined ? [] : ["--timeout", timeout]),
    ...(dryRun ? ["--dry-run"] : []),
    "--",
    name,
    ...(server.length === 0 ? [] : ["--", ...server]),
  ];
}

/** How many descriptors a service manager passed to this process: the launcher gets them. */
function countPassed(env: NodeJS.ProcessEnv): number {
  const passed = listenFds({ env: { ...env } });
  for (const { handle } of passed) handle.steal();
  return passed.length;
}

/**
 * The first path on which a broker answers. If there is only one path, the launcher itself reports what is wrong with
 * it.
 */
async function reachableSocket(paths: readonly string[]): Promise<string> {
  const [only] = paths;
  if (only !== undefined && paths.length === 1) return only;
  const reasons: string[] = [];
  for (const path of paths) {
    try {
      (await connectUnix(path)).close();
      return path;
    } catch (error) {
      if (!(error instanceof BerthError) || error.code !== "BROKER_UNREACHABLE") throw error;
      reasons.push(error.message);
    }
  }
  throw new BerthError("BROKER_UNREACHABLE", reasons.join("\n"));
}
