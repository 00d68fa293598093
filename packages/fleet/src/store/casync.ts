/** casync(1): cuts a file into chunks, and makes the file of them again. It checks the digest of each chunk. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Fault } from "../fault.ts";

const MOST_MESSAGE_BYTES = 4096;

/** Adds the chunks of a file that `store` does not have, and writes the index. Throws NO_CASYNC, BAD_ARCHIVE. */
export async function cut(file: string, store: string, index: string, signal: AbortSignal): Promise<void> {
  // zstd is the fastest. Each compression gives other files, so all hosts use the same.
  await casync(["make", "--compression=zstd", `--store=${store}`, index, file], signal);
}

/** Writes the archive to the file `target`, of chunks in either store. Throws NO_CASYNC, BAD_ARCHIVE. */
export async function join(
  index: string,
  [store, other]: readonly [string, string],
  target: string,
  signal: AbortSignal,
): Promise<void> {
  await casync(["extract", "--seed-output=no", `--store=${store}`, `--extra-store=${other}`, index, target], signal);
}

async function casync(args: readonly string[], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const child = spawn("casync", args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, LC_ALL: "C" } });
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  let said = "";
  child.stderr.on("data", (chunk) => {
    if (said.length < MOST_MESSAGE_BYTES) said += chunk;
  });
  try {
    const [code] = await once(child, "close");
    signal.throwIfAborted();
    if (code === 0) return;
    const why = said.trim().split("\n").at(-1) || `it ended with ${code}`;
    throw new Fault("BAD_ARCHIVE", `casync ${args[0]} has failed: ${why}`);
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new Fault("NO_CASYNC", "cannot run casync; to install it on Debian: apt-get install casync", {
      cause: error,
    });
  } finally {
    signal.removeEventListener("abort", kill);
  }
}
