/** What a broker is started with. */
import type { BerthSpec } from "../config/keys/spec.ts";
import type { FdHandle } from "../fd.ts";
import type { Log } from "../log.ts";
import type { Native } from "../native.ts";
import type { Pool } from "../rootfs/ranges/range.ts";
import type { PassedFd } from "../systemd/activation.ts";
import type { DescriptorStore } from "../systemd/fd-store.ts";
import type { QuotaLimits } from "./access/quota.ts";
import type { StartLimits } from "./demand/starter.ts";
import type { Predecessor } from "./restart/takeover-client.ts";

export interface BrokerOptions {
  /** Configuration folders in rising precedence. */
  readonly config?: readonly string[];
  /** Berths given by the program itself instead of by `config`. */
  readonly berths?: readonly BerthSpec[];
  /**
   * Path of the control socket, or the socket itself, listening, as from socket activation; the broker then owns it.
   */
  readonly socket: string | FdHandle;
  /**
   * Descriptors passed to this process (sd_listen_fds(3)), the broker's from now on: sockets of berths that .socket
   * units own, the control socket if it is among them, and what an earlier broker had put into `store`.
   */
  readonly passed?: readonly PassedFd[];
  /** The service manager's store of descriptors, where there is one: all that is held is kept there too. */
  readonly store?: DescriptorStore;
  /**
   * The broker that has the socket now: all that it has is taken over, and it ends. Nothing may be `passed` beside it.
   * Closed when that is done, or has failed.
   */
  readonly predecessor?: Predecessor;
  /** Another broker has taken over from this one, which is closed. */
  readonly onReplaced?: () => void;
  /** Something that a status line would tell has changed. */
  readonly onChange?: () => void;
  /** Folder for what must outlive the broker; locked, so that two brokers never share one. */
  readonly state?: string;
  /** Ids that ranges of berths with a root are taken from. Default: those that systemd sets apart for containers. */
  readonly ranges?: Pool;
  /** Permission bits of the control socket's path. Who may do what is decided by policy, so 0666 is the default. */
  readonly socketMode?: number;
  readonly quota?: Partial<QuotaLimits>;
  /** Milliseconds a message may take to arrive, and a reply to be read. Default 10,000. */
  readonly deadline?: number;
  /** How servers are started on demand. */
  readonly starts?: Partial<StartLimits>;
  /** Descriptor that the output of servers goes to that the broker itself starts. Default: standard error. */
  readonly serverOutput?: number;
  /** Default: nothing is logged. */
  readonly log?: Log;
  /** @internal */
  readonly sys?: Native;
}
