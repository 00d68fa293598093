/** `berth serve-state`: what the agent of a fleet cannot do without root. systemd starts it for each connection. */
import { type Command, Option } from "commander";
import { systemAccounts } from "../../accounts.ts";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { parseSize } from "../../config/toml/reader.ts";
import { BerthError } from "../../errors.ts";
import { native } from "../../native.ts";
import { printable } from "../../printable.ts";
import { interruptible } from "../interruptible.ts";
import {
  type BrokerChoice,
  type ConfigChoice,
  configOption,
  type StateChoice,
  socketOption,
  stateOption,
  timeoutOption,
} from "../options.ts";
import { serveState } from "../serve-state/serve.ts";
import { stateFolder } from "../state-folder.ts";

interface ServeStateOptions extends BrokerChoice, StateChoice, ConfigChoice {
  readonly folder: string;
  readonly user?: string;
  readonly maxBytes: string;
  readonly stall: string;
}

const help = `
Serves one request of the agent of a fleet, on the UNIX connection that is standard input: sends what a berth's servers
wrote, or restores it; sends a version of an image, or imports it. systemd starts it by berthd-state.socket, as root; you
do not run it. It serves only --user, and only berths whose files are in --folder and whose names the host's own folders,
--config, do not have. It starts and stops no server.
Exit status: 0 answered, also with a refusal; 100 usage; 111 a defect.

Examples:
  systemctl enable --now berthd-state.socket
  systemd-socket-activate --accept --inetd -l /run/state berth serve-state --folder /var/lib/berth-fleet`;

export function addServeState(program: Command): void {
  program
    .command("serve-state")
    .description("serve the agent of a fleet, as root: files of its berths, and images")
    .requiredOption("--folder <directory>", "the folder of berth files that the agent writes")
    .addOption(new Option("--user <user>", "the agent's user (default: the one who runs this)"))
    .addOption(
      new Option("--max-bytes <size>", "the most that a request may send or get, or an image have").default("64G"),
    )
    .addOption(new Option("--stall <seconds>", "how long the agent may neither send nor read").default("60"))
    .addOption(configOption())
    .addOption(socketOption())
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addHelpText("after", help)
    .action((_options: ServeStateOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<ServeStateOptions>();
        const { folder, user, config = defaultConfigDirectories() } = options;
        await serveState({
          uid: user === undefined ? (process.geteuid?.() ?? 0) : uidOf(user),
          limits: { maxBytes: bytesOf(options.maxBytes), stallMs: 1000 * secondsOf(options.stall) },
          state: await stateFolder(options),
          folders: { folder, others: config.filter((one) => one !== folder) },
          choice: options,
          signal,
        });
      }),
    );
}

function uidOf(user: string): number {
  if (/^\d{1,10}$/.test(user)) return Number(user);
  const uid = systemAccounts(native).passwd(user)?.uid;
  if (uid === undefined) throw new BerthError("USAGE", `--user ${printable(user)}: there is no such user`);
  return uid;
}

function bytesOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes === 0)
    throw new BerthError("USAGE", `--max-bytes ${printable(text)} is not a size; write for example 64G`);
  return bytes;
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 3600) return seconds;
  throw new BerthError("USAGE", `--stall ${printable(text)} is not a number of seconds above 0 and at most 3600`);
}
