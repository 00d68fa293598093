/**
 * Gives berths to containers. The runtime's credentials decide which berth it may name. The lease is the container's:
 * it ends with the container's first process. A runtime that has the berth itself, since it was started with its root
 * (`berth-launch --contain`), leaves it to the container. Binds are answered as those of any server with bind delivery.
 * What `exec` starts in a container is part of its server.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { describeProblems } from "../../config/toml/problem.ts";
import { check, isScarcity } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import { type ContainerState, readContainerState } from "../../oci/container-state.ts";
import { firstReservedFd } from "../access/limits/limits.ts";
import { networkOf } from "../access/network.ts";
import type { Owners } from "../access/owners.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Berths } from "../berths/berths.ts";
import type { Applicant, Refusal, Requester } from "../berths/request.ts";
import { NO_LISTENER } from "../bind/interception.ts";
import type { Interceptions } from "../bind/interceptions.ts";
import type { Runtime } from "./agent-socket.ts";
import type { StateMessage } from "./state-connection.ts";

const { ESRCH } = constants.errno;

/** How long a container waits for the end of the one before it, and how often that is checked. */
const PATIENCE_MS = 2000;
const POLL_INTERVAL_MS = 20;
/** How often a container waits for its berth to be set right. */
const MAX_WAITS = 8;
/** Characters of a container's id that a message has: as many as those of Podman and Docker have. */
const SHOWN_ID = 64;

export interface ContainersOptions {
  readonly berths: Berths;
  readonly interceptions: Interceptions;
  readonly owners: Owners;
  readonly sys: Native;
  readonly log: Log;
  /** `over` resolves when no takeover is under way. Until then nothing is granted. */
  readonly takeover: { over(): Promise<void> };
  /** Soft RLIMIT_NOFILE of this process. */
  readonly maxFds: number;
}

export class Containers {
  readonly #options: ContainersOptions;
  /** The containers that got a berth from this broker. */
  readonly #ids = new WeakMap<Lease, string>();

  constructor(options: ContainersOptions) {
    this.#options = options;
  }

  /** Owns the descriptors. Resolves with why the container gets no berth, if it gets none. */
  async take(runtime: Runtime, { state, fds }: StateMessage): Promise<string | undefined> {
    try {
      const read = readContainerState(state, fds.length);
      if (typeof read === "string") return `its container state is refused: ${read}`;
      const notify = fds[read.listener];
      if (notify !== undefined && notify.fd >= firstReservedFd(this.#options.maxFds, runtime.privileged))
        return "the broker has no descriptor left for it; raise its RLIMIT_NOFILE";
      return notify === undefined ? NO_LISTENER : await this.#serve(runtime, read, notify);
    } catch (error) {
      if (!isScarcity(error)) throw error;
      return error.message;
    } finally {
      closeAll(fds);
    }
  }

  async #serve(runtime: Runtime, state: ContainerState, notify: FdHandle): Promise<string | undefined> {
    const { berths } = this.#options;
    const name = state.berth;
    if (state.byExec) return await this.#join(runtime, state, notify);
    const tenant = this.#applicant(state.pid, runtime);
    if (typeof tenant === "string") return tenant;
    const { peer, privileged } = runtime;
    const holds = (lease: Lease): boolean => !lease.ended && lease.tenant.pid === tenant.pid;
    const who = { peer, privileged, tenant, holds };
    const until = performance.now() + PATIENCE_MS;
    for (let waits = 0; ; ) {
      await this.#options.takeover.over();
      const berth = berths.find(name, who);
      if (!("kind" in berth) && !berth.spec.server.deliver.includes("bind"))
        return `berth ${name} does not serve containers; write deliver = ["bind"] into its [server]`;
      if (!("kind" in berth) && this.#leaves(berth, runtime, tenant)) return this.#begin(berth, state, notify, who);
      const granted = berths.acquire(name, who, "no");
      if (granted.kind === "granted") return this.#begin(granted.berth, state, notify, who);
      if (granted.kind === "waiting" && waits++ < MAX_WAITS) {
        const problem = await granted.until;
        if (problem !== undefined) return problem;
      } else if (granted.kind === "occupied" && performance.now() < until) {
        await pause(POLL_INTERVAL_MS); // the container before this one is about to end
      } else return sentence(granted.kind === "waiting" ? { kind: "denied", berth: name } : granted);
    }
  }

  /** What `exec` starts in a container belongs to its server. The lease stays with the container. */
  async #join(
    runtime: Runtime,
    state: ContainerState & { byExec: true },
    notify: FdHandle,
  ): Promise<string | undefined> {
    const { berths, interceptions, owners, takeover } = this.#options;
    const { peer, privileged, account } = runtime;
    await takeover.over();
    const berth = berths.find(state.berth, { peer, privileged, holds: () => false });
    if ("kind" in berth) return sentence(berth);
    const { lease } = berth;
    const isOf = lease !== undefined && (this.#ids.get(lease) === state.id || lease.tenant.pid === state.init);
    if (!isOf || !interceptions.has(lease.id))
      return `container ${shown(state.id)} is not known to have berth ${berth.name}, so a program that exec starts in it gets no socket; start the container again`;
    if (!privileged && owners.accountOf(lease.tenant.uid, performance.now()) !== account)
      return `container ${shown(state.id)} is another user's`;
    const process = state.pid === undefined ? undefined : this.#applicant(state.pid, runtime);
    if (typeof process === "string") return process;
    const refused = interceptions.join(lease.id, notify);
    return refused && sentence(refused);
  }

  /** Whether the runtime has the berth itself: then the container's first process has it from now on. */
  #leaves(berth: Berth, { peer }: Runtime, container: Applicant): boolean {
    const { berths, interceptions, sys } = this.#options;
    const { lease, incoming } = berth;
    if (lease === undefined || incoming !== undefined || lease.tenant.pid !== peer.pid || !peer.alive) return false;
    // Its binds are answered already: it is a server itself.
    if (interceptions.has(lease.id)) return false;
    using pidfd = container.pidfd();
    if (pidfd === undefined || sys.pollNow(pidfd.fd, POLLIN) !== 0) return false;
    berths.mains.leave(berth, lease, container.pid, pidfd.move());
    return true;
  }

  #begin(
    berth: Berth,
    state: ContainerState & { byExec: false },
    notify: FdHandle,
    who: Requester,
  ): string | undefined {
    const { berths, interceptions, log } = this.#options;
    const lease = [berth.lease, berth.incoming].find((one) => one !== undefined && who.holds(one));
    if (lease === undefined) return "its container has ended";
    let isServed = interceptions.has(lease.id);
    if (isServed) return `container ${shown(state.id)} has berth ${berth.name} already`;
    try {
      const refused = interceptions.begin(lease.id, notify, who);
      isServed = refused === undefined;
      if (refused !== undefined) return sentence(refused);
    } finally {
      if (!isServed) berths.release(lease.id, who);
    }
    this.#ids.set(lease, state.id);
    const { pid } = state;
    log("info", `berth ${berth.name}: serves container ${shown(state.id)}, pid ${pid}`, {
      event: "container",
      berth: berth.name,
      container: shown(state.id),
      pid,
    });
    return undefined;
  }

  /**
   * Who gets the lease: the container's first process, or a sentence. Another user's process gets none, for the broker
   * may end the process that has a lease.
   */
  #applicant(pid: number, { peer, privileged, account }: Runtime): Applicant | string {
    const { owners, sys } = this.#options;
    let status: string;
    try {
      status = readFileSync(`/proc/${pid}/status`, "latin1");
    } catch {
      return `pid ${pid} has ended, or is in another PID namespace than the broker`;
    }
    const uid = Number(/^Uid:\t(\d+)/m.exec(status)?.[1]);
    if (!/^Seccomp:\t2$/m.test(status)) return `pid ${pid} has no seccomp filter`;
    if (!privileged && owners.accountOf(uid, performance.now()) !== account) return `pid ${pid} is another user's`;
    return {
      pid,
      uid,
      unit: undefined,
      // Not the container's own: that is what server.any-namespace is for.
      network: peer.network ?? networkOf("self"),
      pidfd: () => {
        const pidfd = sys.pidfdOpen(pid);
        return pidfd === -ESRCH ? undefined : FdHandle.adopt(check("pidfd_open", pidfd), sys);
      },
    };
  }
}

function shown(id: string): string {
  return id.slice(0, SHOWN_ID);
}

/** For the log, which only the operator reads. */
function sentence(why: Refusal): string {
  switch (why.kind) {
    case "denied":
      return `it may not take berth ${why.berth}, or there is none of that name; name its user in the berth's [tenant]`;
    case "absent":
      return `there is no berth ${why.berth}; correct listenerMetadata in the seccomp profile`;
    case "occupied":
      return `berth ${why.berth} is taken by pid ${why.lease.pid} (uid ${why.lease.uid}); end that first`;
    case "vacant":
    case "no-lease":
      return "its container has ended";
    case "problem":
      return `berth ${why.berth} has a problem: ${describeProblems(why.problems)}`;
    case "limit":
    case "unsuitable":
    case "no-root":
      return why.message;
    default:
      return why satisfies never;
  }
}
