/** `berth-web`, the program, from its arguments to its exit code. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "./fault.ts";
import { parseOptions, usage } from "./options/options.ts";
import { packageFolder } from "./package-folder.ts";
import { WebServer } from "./web-server.ts";

export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args, process.env);
    if (options === "help") return print(usage);
    if (options === "version") return print(`berth-web ${version()}\n`);
    const stopped = new Promise((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, resolve);
    });
    const server = await WebServer.start(options, process.env);
    for (const address of server.addresses) console.error("berth-web: listening on %s", address);
    await stopped;
    await server.close();
    return 0;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { code, message, exitCode } = error;
    if (args.includes("--json")) console.error(JSON.stringify({ error: code, message }));
    else console.error("berth-web: %s", message);
    return exitCode;
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "";
}
