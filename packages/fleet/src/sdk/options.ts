/** The command line of `berth-sdk`. */
import { parseArgs } from "node:util";
import { Fault } from "../fault.ts";

export interface ProgramOptions {
  readonly socket: string | undefined;
  readonly address: string | undefined;
}

export const usage = `Usage: berth-sdk [OPTION]...

Serves the SDK of Agones to the servers of berths that have sdk = "agones" in their file. It runs as the sdk-user of
these berths, without privilege.

  --socket PATH    the broker's socket (default: $BERTHD_SOCKET, else the usual places)
  --address NAME   what players type for a server that listens on every address (default: the name of this host)
  --help           print this
  --version        print the version

Exit codes: 0 stopped by a signal, 100 wrong usage.
`;

const flags = {
  socket: { type: "string" },
  address: { type: "string" },
  help: { type: "boolean" },
  version: { type: "boolean" },
} as const;

/** Throws USAGE. */
export function parseOptions(args: readonly string[]): ProgramOptions | "help" | "version" {
  try {
    const { values } = parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false });
    if (values.help) return "help";
    if (values.version) return "version";
    return { socket: values.socket, address: values.address };
  } catch (error) {
    throw new Fault("USAGE", `${error instanceof Error ? error.message : error}; see berth-sdk --help`);
  }
}
