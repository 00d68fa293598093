/** Loads programs of eBPF. Pure but for the call that it is given. */
import { constants } from "node:os";

const { EAGAIN } = constants.errno;
/** How often to try. libbpf tries five times. */
const TRIES = 20;

/**
 * What `load` returns: a descriptor, or -errno. The kernel fails with EAGAIN if a signal comes while it checks the
 * program (do_check in kernel/bpf/verifier.c), so this tries again.
 */
export function loadProgram(load: () => number): number {
  for (let tries = 1; ; tries++) {
    const result = load();
    if (result !== -EAGAIN || tries === TRIES) return result;
  }
}
