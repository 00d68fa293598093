/** `berth-sdk`, the program, from its arguments to its exit code. */
import { readFileSync } from "node:fs";
import { Fault } from "../fault.ts";
import { parseOptions, usage } from "./options.ts";
import { Sdk } from "./sdk.ts";

export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === "help") return print(usage);
    if (options === "version") return print(`berth-sdk ${version()}\n`);
    const stopped = new Promise((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, resolve);
    });
    const sdk = new Sdk({ ...options, log: (line) => console.error("berth-sdk: %s", line) });
    sdk.start();
    await stopped;
    await sdk.close();
    return 0;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    console.error("berth-sdk: %s", error.message);
    return 100;
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "";
}
