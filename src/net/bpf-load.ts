/** Loads programs of eBPF. Pure but for the call that it is given. */
import { constants } from "node:os";

const { EAGAIN } = constants.errno;
/** How often to try. libbpf tries five times. */
const TRIES = 20;
/** For what the verifier says, which nothing here reads. */
const NO_LOG = new Uint8Array(0);

/**
 * What `load` returns: a descriptor, or -errno. It is to pass the log on, which has no room. The kernel fails with
 * EAGAIN if a signal comes while it checks the program (do_check in kernel/bpf/verifier.c), so this tries again.
 */
export function loadProgram(load: (log: Uint8Array) => number): number {
  for (let tries = 1; ; tries++) {
    const result = load(NO_LOG);
    if (result !== -EAGAIN || tries === TRIES) return result;
  }
}
