/** The seccomp agent for container runtimes: opens its socket beside the control socket, and lets it serve. */
import { agentPath } from "../net/socket-path.ts";
import { DEFAULT_DEADLINE_MS } from "./access/limits/limits.ts";
import { AgentSocket } from "./agent/agent-socket.ts";
import { Containers } from "./agent/containers.ts";
import type { Foundation, Settled } from "./parts.ts";
import type { PassedSocket } from "./sockets/passed-socket.ts";

/** A broker that cannot open it serves without it, and logs why. */
export function openAgent(
  { control, options, sys, log }: Foundation,
  offered: readonly PassedSocket[],
): AgentSocket | undefined {
  const path = agentPath(control.path);
  try {
    return AgentSocket.open(path, options.socketMode ?? 0o666, offered, sys);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    log("warning", `cannot open ${path}, so containers get no berths: ${error.message}`, { event: "agent" });
    return undefined;
  }
}

/** From now on containers get berths. */
export function serveContainers(parts: Settled, takeover: { over(): Promise<void> }, maxFds: number): void {
  const { agent, options, berths, interceptions, owners, quota, guard, sys, log } = parts;
  const containers = new Containers({ berths, interceptions, owners, sys, log, takeover, maxFds });
  agent?.start({
    sys,
    guard,
    log,
    quota,
    owners,
    visibility: berths.visibility,
    brokerUid: process.geteuid?.() ?? 0,
    deadline: options.deadline ?? DEFAULT_DEADLINE_MS,
    maxFds,
    onMessage: (runtime, message) => containers.take(runtime, message),
  });
}
