/**
 * The two sockets for sd_notify(3) messages: one has a path, one has the same name in the abstract namespace. After
 * chroot(2) a server no longer finds the path, but it finds the name (test/broker/notify/notify-socket.test.ts).
 */
import { networkOf } from "../access/network.ts";
import type { Peer } from "../access/peer.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import { NotifySocket, type NotifySocketOptions } from "./notify-socket.ts";

/** CAP_SYS_CHROOT and CAP_SYS_ADMIN (capabilities(7)): chroot(2) and pivot_root(2). */
const ROOT_CHANGERS: readonly number[] = [18, 21];

export class NotifySockets {
  readonly #atPath: NotifySocket | undefined;
  readonly #byName: NotifySocket | undefined;

  private constructor(atPath: NotifySocket | undefined, byName: NotifySocket | undefined) {
    this.#atPath = atPath;
    this.#byName = byName;
  }

  /** Opens what it can. A broker without one of them serves, and logs why. `@name` is abstract itself. */
  static open(path: string, options: NotifySocketOptions): NotifySockets {
    const isAbstract = path.startsWith("@");
    return new NotifySockets(
      tryOpen(path, "so servers cannot report READY=1", options),
      isAbstract ? undefined : tryOpen(`@${path}`, "so servers that call chroot(2) cannot report READY=1", options),
    );
  }

  /** For those that store them or hand them over. */
  get named(): NamedSocket[] {
    return [
      ...(this.#atPath === undefined ? [] : [{ name: "notify", socket: this.#atPath.socket }]),
      ...(this.#byName === undefined ? [] : [{ name: "notify-name", socket: this.#byName.socket }]),
    ];
  }

  /**
   * NOTIFY_SOCKET for a server. The name is for those that may change their root, in this network namespace. All others
   * get the path: when no broker runs, any user may take an abstract name.
   */
  addressFor(capabilities: readonly number[], peer: Pick<Peer, "network">): string | undefined {
    const mayMove = capabilities.some((capability) => ROOT_CHANGERS.includes(capability));
    const chosen = mayMove && isHere(peer) ? (this.#byName ?? this.#atPath) : this.#atPath;
    return chosen?.address;
  }

  /** Reads nothing until {@link resume}. Messages wait in the sockets. */
  pause(): void {
    this.#atPath?.pause();
    this.#byName?.pause();
  }

  resume(): void {
    this.#atPath?.resume();
    this.#byName?.resume();
  }

  close(): void {
    this.#atPath?.close();
    this.#byName?.close();
  }
}

function isHere({ network }: Pick<Peer, "network">): boolean {
  return network !== undefined && network === networkOf("self");
}

function tryOpen(path: string, effect: string, options: NotifySocketOptions): NotifySocket | undefined {
  try {
    return NotifySocket.open(path, options);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    options.log("warning", `cannot open ${path}, ${effect}: ${error.message}`, { event: "notify" });
    return undefined;
  }
}
