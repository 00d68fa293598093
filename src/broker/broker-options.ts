/** The options of a broker. */
import type { BerthSpec, TenantSpec } from "../config/keys/spec.ts";
import type { FdHandle } from "../fd.ts";
import type { Log } from "../log.ts";
import type { Native } from "../native.ts";
import type { Pool } from "../rootfs/ranges/range.ts";
import type { PassedFd } from "../systemd/activation.ts";
import type { DescriptorStore } from "../systemd/fd-store.ts";
import type { QuotaLimits } from "./access/limits/quota.ts";
import type { StartLimits } from "./demand/starter.ts";
import type { DrainLimits } from "./drain/drain-step.ts";
import type { Guard } from "./guard/guard.ts";
import type { Predecessor } from "./restart/takeover-client.ts";

export interface BrokerOptions {
  /** Configuration folders. Later ones override earlier ones. */
  readonly config?: readonly string[];
  /** Berths from the program, instead of `config`. */
  readonly berths?: readonly BerthSpec[];
  /** Refuses to start if any berth has a problem. Default: true with `predecessor`; else the others are served. */
  readonly strict?: boolean;
  /**
   * Called for each reload that a client asks for, with the function that does it and throws CONFIG_INVALID. A daemon
   * tells its service manager and its log of both. Default: that function is called.
   */
  readonly onReload?: (reload: () => void) => void;
  /** Path of the control socket, or a listening socket, for example from socket activation. The broker then owns it. */
  readonly socket: string | FdHandle;
  /**
   * Descriptors that this process inherited (sd_listen_fds(3)); the broker owns them. They can be sockets of berths,
   * the control socket, and what an earlier broker put into `store`.
   */
  readonly passed?: readonly PassedFd[];
  /** The service manager's store, if there is one. The broker keeps a copy of all its descriptors there. */
  readonly store?: DescriptorStore;
  /**
   * The running broker. This one takes over everything from it, and then it ends. Excludes `passed`. Closed afterwards,
   * also after a failure.
   */
  readonly predecessor?: Predecessor;
  /** Called when another broker has taken over and this one is closed. */
  readonly onReplaced?: () => void;
  /** Called when something changed that a status line shows. */
  readonly onChange?: () => void;
  /** Folder for images, ranges and roots. Locked, so that two brokers never share one. */
  readonly state?: string;
  /** What `state` is if it is absent, from the first berth with a root on. Brokers without roots need none. */
  readonly defaultState?: string;
  /** The ids for ranges of berths with a root. Default: those that systemd reserves for containers. */
  readonly ranges?: Pool;
  /** Permission bits of the control socket's path. Default 0666, because policy decides who may do what. */
  readonly socketMode?: number;
  /** Who may see every berth and report its players, but take none. */
  readonly observers?: TenantSpec;
  readonly quota?: Partial<QuotaLimits>;
  /** Milliseconds for a message to arrive, and for a reply to be read. Default 10,000. */
  readonly deadline?: number;
  /** Limits for servers that start on demand. */
  readonly starts?: Partial<StartLimits>;
  /** Times of drains. */
  readonly drains?: Partial<DrainLimits>;
  /**
   * Folder for a log of each server that the broker starts itself: NAME.log, rotated. Default: none, so the output goes
   * to `serverOutput`.
   */
  readonly serverLogs?: string;
  /** Descriptor for the output of servers that the broker starts itself. Default: standard error. */
  readonly serverOutput?: number;
  /** Default: no log. */
  readonly log?: Log;
  /** @internal */
  readonly sys?: Native;
  /** @internal */
  readonly guard?: Guard;
}
