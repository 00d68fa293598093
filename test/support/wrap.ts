/** What goes in front of a command: the start of a command line that runs the rest of it in the same process. */
import { missing } from "./needs.ts";

// Python ignores both from its start, and an ignored signal stays ignored across exec.
const PYTHON = `import ctypes, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL); signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execvp(sys.argv[1], sys.argv[1:])`;

/** The command is killed when the test's process ends: a test that is given up leaves nothing running. */
export const endsWithTest: readonly string[] =
  missing("setpriv") === undefined
    ? ["setpriv", "--pdeathsig", "KILL", "--"]
    : ["env", "PYTHONCOERCECLOCALE=0", "python3", "-Sc", PYTHON];

/** The command may have so many descriptors. */
export function limitedTo(descriptors: number): readonly string[] {
  return ["sh", "-c", `ulimit -n ${descriptors} && exec "$@"`, "sh"];
}

/** The command runs as that user and group, without others. Needs setpriv and root. */
export function asUser(id: number): readonly string[] {
  return ["setpriv", `--reuid=${id}`, `--regid=${id}`, "--clear-groups"];
}
