/** Binds that the broker cannot answer as it should: what the log says, and what the server gets. Pure. */
import { constants } from "node:os";
import type { Unanswered } from "../plans/guarded-plan.ts";

const { EPERM, ETIMEDOUT, ENOBUFS } = constants.errno;

/** Why the broker cannot look into its servers. Root without that capability is usually in a container. */
const blind = `the broker may not inspect its server, so the server's binds fail with EPERM; ${
  process.geteuid?.() === 0
    ? "give the broker CAP_SYS_PTRACE: --cap-add SYS_PTRACE, or in CapabilityBoundingSet= of its unit"
    : "run the broker as root or with CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope=1 or 0"
}`;

/** The errors of reports that are the broker's own trouble. Others are what the kernel would say. */
export const reportFailures: ReadonlyMap<number, readonly ["error" | "warning", key: string, message: string]> =
  new Map([
    [EPERM, ["error", "ptrace", blind]],
    [
      ETIMEDOUT,
      ["warning", "memory", "a bind of its server failed: the memory that holds its address cannot be read in time"],
    ],
  ]);

/** Nobody can say what the socket is, or set what it needs. */
export const unanswered: Readonly<Record<Unanswered, { readonly message: string; readonly verdict: number }>> = {
  stuck: {
    message: "the kernel did not answer a question about its socket in time: another call of the server locks it",
    verdict: ETIMEDOUT,
  },
  unavailable: { message: "no guard process can be started to look at its socket", verdict: ENOBUFS },
};
