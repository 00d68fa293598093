/**
 * Makes an overlay without privilege, with the helper `berth-launch --make-root`. The helper is a separate process,
 * because a process with threads cannot make a user namespace (hazard 20). It sends the mount, then exits.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { BerthError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import { launcherPath } from "../../launcher-path.ts";
import { type Native, RECEIVED_LENGTH } from "../../native.ts";
import { socketPair } from "../../net/socket-queries.ts";
import { helperProblem } from "./helper-problem.ts";
import { type TmpfsLimits, tmpfsOptions } from "./tmpfs-limits.ts";
import { whyNoNamespace } from "./userns-diagnosis.ts";

/** The layers of the overlay. All paths are absolute. */
export interface RootlessLayers {
  /** From the top down. */
  readonly lowers: readonly string[];
  /** The folders for changes, or the limits of a tmpfs for them. */
  readonly changes: { readonly upper: string; readonly work: string } | TmpfsLimits;
  readonly readOnly: boolean;
  readonly nosuid: boolean;
  readonly nodev: boolean;
}

/** The mount and its namespace. The caller closes both. */
export interface RootlessMount {
  /** The detached mount. */
  readonly mount: FdHandle;
  /** The mount's user namespace. The broker's user is root in it. */
  readonly userns: FdHandle;
}

const HELPER_TIMEOUT_MS = 10_000;

/** Makes the overlay. Rejects with SYSTEM_ERROR: the cause, and what to set when the system forbids it. */
export async function mountRootless(layers: RootlessLayers, sys: Native): Promise<RootlessMount> {
  const [ours, theirs] = socketPair("stream", sys);
  using channel = ours;
  let child: ChildProcess;
  try {
    child = spawn(launcherPath(), ["--make-root", "3", ...argumentsOf(layers)], {
      stdio: ["ignore", "ignore", "pipe", theirs.fd],
      timeout: HELPER_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
  } finally {
    theirs.close();
  }
  const problem = await helperProblem(child, "berth-launch");
  const fds = received(channel, sys);
  const [userns, mount, ...others] = fds;
  if (problem === undefined && userns !== undefined && mount !== undefined && others.length === 0)
    return { mount, userns };
  closeAll(fds);
  const why = problem ?? "berth-launch sent no root; install berthd and berth-launch of the same version";
  const remedy = whyNoNamespace(why, layers.lowers);
  throw new BerthError("SYSTEM_ERROR", remedy === undefined ? why : `${why}; ${remedy}`);
}

function argumentsOf({ lowers, changes, readOnly, nosuid, nodev }: RootlessLayers): string[] {
  return [
    ...lowers.map((path) => `lower=${path}`),
    ...("upper" in changes ? [`upper=${changes.upper}`, `work=${changes.work}`] : memoryOf(changes)),
    ...(readOnly ? ["read-only"] : []),
    ...(nosuid ? ["nosuid"] : []),
    ...(nodev ? ["nodev"] : []),
  ];
}

function memoryOf(limits: TmpfsLimits): string[] {
  return ["tmpfs", ...Object.entries(tmpfsOptions(limits)).map(([key, value]) => `tmpfs-${key}=${value}`)];
}

function received(channel: FdHandle, sys: Native): FdHandle[] {
  const data = Buffer.alloc(1);
  const list = new Int32Array(RECEIVED_LENGTH);
  if (sys.recvmsg(channel.fd, data, 0, list) < 1) return [];
  return Array.from(list.subarray(2, 2 + (list[0] ?? 0)), (fd) => FdHandle.adopt(fd, sys));
}
