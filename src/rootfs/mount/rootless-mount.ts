/**
 * An overlay without privilege: `berth-launch --make-root`, in a process of its own because a process with threads can
 * make no user namespace (hazard 20). It ends as soon as it has sent what it made.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { BerthError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import { launcherPath } from "../../launcher-path.ts";
import { type Native, RECEIVED_LENGTH } from "../../native.ts";
import { socketPair } from "../../socket-queries.ts";
import { whyNoNamespace } from "./userns-diagnosis.ts";

/** What the overlay is made of: absolute paths. */
export interface RootlessLayers {
  /** From the top down. */
  readonly lowers: readonly string[];
  /** Folders for what is written; or the most bytes it may take in memory, `undefined` for the kernel's default. */
  readonly changes: { readonly upper: string; readonly work: string } | { readonly size: number | undefined };
  readonly readOnly: boolean;
  readonly nosuid: boolean;
  readonly nodev: boolean;
}

/** What was made: the caller's to close. */
export interface RootlessMount {
  /** Detached. */
  readonly mount: FdHandle;
  /** The namespace it belongs to, in which the broker's user is root. */
  readonly userns: FdHandle;
}

const TIMEOUT = 10_000;
const MAX_WORDS = 2000;

/** Makes it. Rejects with SYSTEM_ERROR: why, and what to set where the system forbids it. */
export async function mountRootless(layers: RootlessLayers, sys: Native): Promise<RootlessMount> {
  const [ours, theirs] = socketPair("stream", sys);
  using channel = ours;
  let child: ChildProcess;
  try {
    child = spawn(launcherPath(), ["--make-root", "3", ...wordsOf(layers)], {
      stdio: ["ignore", "ignore", "pipe", theirs.fd],
      timeout: TIMEOUT,
      killSignal: "SIGKILL",
    });
  } finally {
    theirs.close();
  }
  const problem = await ended(child);
  const fds = received(channel, sys);
  const [userns, mount, ...others] = fds;
  if (problem === undefined && userns !== undefined && mount !== undefined && others.length === 0)
    return { mount, userns };
  closeAll(fds);
  const why = problem ?? "the helper sent no root; install berthd and berth-launch of the same version";
  const remedy = whyNoNamespace(why, layers.lowers);
  throw new BerthError("SYSTEM_ERROR", remedy === undefined ? why : `${why}; ${remedy}`);
}

function wordsOf({ lowers, changes, readOnly, nosuid, nodev }: RootlessLayers): string[] {
  return [
    ...lowers.map((path) => `lower=${path}`),
    ...("size" in changes ? [`tmpfs=${changes.size ?? ""}`] : [`upper=${changes.upper}`, `work=${changes.work}`]),
    ...(readOnly ? ["read-only"] : []),
    ...(nosuid ? ["nosuid"] : []),
    ...(nodev ? ["nodev"] : []),
  ];
}

/** Undefined when it did its work, else its own sentence. */
async function ended(child: ChildProcess): Promise<string | undefined> {
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-MAX_WORDS);
  });
  const end = await new Promise<string | number>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal ?? code ?? 0));
  });
  if (end === 0) return undefined;
  return words.trim().replace(/^berth-launch: /, "") || `berth-launch ended with ${end}`;
}

function received(channel: FdHandle, sys: Native): FdHandle[] {
  const data = Buffer.alloc(1);
  const list = new Int32Array(RECEIVED_LENGTH);
  if (sys.recvmsg(channel.fd, data, 0, list) < 1) return [];
  return Array.from(list.subarray(2, 2 + (list[0] ?? 0)), (fd) => FdHandle.adopt(fd, sys));
}
