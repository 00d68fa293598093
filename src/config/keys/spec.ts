/** A berth's configuration after it was read, merged, expanded and validated. Plain data. */

import type { PasswdEntry } from "../../accounts.ts";
import type { ListenAddress } from "../../net/address.ts";
import type { Origin } from "../toml/problem.ts";
import type { SocketOptions } from "./socket-options.ts";

/** A named socket: one name, one or more addresses, one descriptor for each address, in the order written. */
export interface SocketSpec {
  readonly name: string;
  readonly listen: readonly (ListenAddress & { readonly origin: Origin })[];
  readonly options: SocketOptions;
}

/** Who may take the berth besides root and the broker's own user; or see it. `units` may hold shell globs. */
export interface TenantSpec {
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly units: readonly string[];
}

/**
 * A resource limit, setrlimit(2): "unlimited" is RLIM_INFINITY, "keep" leaves the hard limit as the launcher has it.
 */
export interface LimitSpec {
  readonly resource: string;
  readonly soft: number | "unlimited";
  readonly hard: number | "unlimited" | "keep";
}

export type Delivery = "listen-fds" | "bind";

/** What the broker does with a bind(2) to an address that is not the berth's, with `deliver = ["bind"]`. */
export type OtherBinds = "refuse" | "allow" | "loopback" | "ephemeral";

/** A lease lasts until the last process of the server has exited, or until the process that took the berth has. */
export type LeaseSpan = "server" | "process";

/** New joins while a berth drains: they go on, wait for the next server, or are turned away. */
export type DrainMode = "serve" | "queue" | "refuse";

/** Who starts the server: an operator or unit, or the broker at the first packet or connection. */
export type StartMode = "manual" | "on-demand";

/** How to ask the server who plays: for the programs that do. */
export interface QuerySpec {
  /** The protocol, as those programs name it: `quake3`. */
  readonly type: string;
  /** Absent: the port of the berth's first socket that has one. */
  readonly port?: number;
  /** Absent: the address of that socket. */
  readonly host?: string;
}

/** The SDKs that there are. */
export type SdkProtocol = "agones";

/** The SDK that a server calls, on ports of loopback. A program beside the broker serves it. */
export interface SdkSpec {
  readonly protocol: SdkProtocol;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** The user whose programs may speak for the server, besides root and the broker's own user. */
  readonly user?: number;
}

export interface ServerSpec {
  /** Program and arguments; a launch expands `{fd:game}` and other placeholders. Empty: the caller gives a command. */
  readonly command: readonly string[];
  /**
   * The user the server runs as, looked up when the configuration was read. Without `user` and `rangeId` the server
   * keeps the launcher's user, and a launcher that runs as root refuses.
   */
  readonly user?: PasswdEntry;
  /** Instead of `user`: the user and group id inside the berth's range. Always set with `enter`. */
  readonly rangeId?: number;
  /** The launcher makes the berth's root the server's `/`. */
  readonly enter: boolean;
  readonly deliver: readonly Delivery[];
  readonly otherBinds: OtherBinds;
  /** Processes in other network namespaces than that of the launch get the sockets, too. */
  readonly anyNamespace: boolean;
  readonly environment: Readonly<Record<string, string>>;
  /** true: the launcher's environment, then `environment` over it; false: only `environment` and PATH. */
  readonly inheritEnvironment: boolean;
  /** Absolute; absent: the launcher's own. */
  readonly directory?: string;
  readonly umask: number;
  readonly limits: readonly LimitSpec[];
  /** Capabilities (numbers of linux/capability.h) that the server keeps as ambient ones; all others are dropped. */
  readonly capabilities: readonly number[];
  /** The server can neither make nor enter namespaces. */
  readonly noNamespaces: boolean;
  /** The server gets a terminal of its own, which `berth console` shows. */
  readonly console: boolean;
  readonly lease: LeaseSpan;
  readonly start: StartMode;
  /** Seconds without traffic after which the broker stops the server; only with "on-demand". Absent: never. */
  readonly stopAfter?: number;
  /** The signal that asks the server to stop. Absent: SIGTERM. */
  readonly stopSignal?: number;
  /** Seconds from that signal to SIGKILL. Absent: the broker's own limit. */
  readonly stopTimeout?: number;
  /** What becomes of new joins while the berth drains. */
  readonly drain: DrainMode;
  /** What those read who are turned away. `{when}` stands for the time that is left. */
  readonly drainText: string;
  /** The signal that tells the server that its berth is drained. Absent: none. */
  readonly drainSignal?: number;
  /** The line that is typed on the server's console when its berth is drained. Absent: none. */
  readonly drainCommand?: string;
  /** Seconds within which the server must send WATCHDOG=1, again and again, once it is ready. Absent: it need not. */
  readonly watchdog?: number;
  /** Who answers while it does not run; only with "on-demand". Absent: nobody, and any packet starts it. */
  readonly asleep?: AsleepSpec;
  /** How to ask it who plays. Absent: nobody asks. */
  readonly query?: QuerySpec;
  /** Absent: it calls none. */
  readonly sdk?: SdkSpec;
}

/** The protocol of the status queries that are answered for a sleeping server. */
export type AsleepProtocol = "a2s" | "quake3" | "minecraft" | "bedrock" | "teeworlds";

/** What starts it: a join, one from a network that is known, or any packet that is no status query. */
export type WakeMode = "join" | "known-address" | "any";

/** What a sleeping server says about itself. Without a name it is the berth's. */
export interface AsleepAs {
  readonly name?: string;
  readonly map?: string;
  readonly slots?: number;
  readonly game?: string;
  readonly version?: string;
  readonly protocol?: number;
}

export interface AsleepSpec {
  readonly protocol: AsleepProtocol;
  readonly wake: WakeMode;
  /** Those that are known: ADDRESS/BITS. */
  readonly networks: readonly string[];
  readonly as: AsleepAs;
  /** Seconds that a datagram may wait before it is too old to start the server. */
  readonly discardAfter: number;
  /** Seconds that a login of Minecraft Java waits for the server. Undefined: none waits. */
  readonly holdLogin: number | undefined;
}

/** Whether what a tenant writes is kept for the next tenant, or is gone when the lease ends. */
export type RootState = "persistent" | "volatile";

/** How the owners of an image's files become ids of the berth's range. */
export type Shift = "auto" | "idmap" | "metacopy" | "none";

/** A file or folder of the host that a server finds in the root it enters. */
export interface BindSpec {
  /** Its path in the root: absolute, without `.` and `..`. */
  readonly target: string;
  /** Its absolute path on the host. */
  readonly source: string;
  readonly readOnly: boolean;
}

/** The root directory a tenant gets. */
export interface RootSpec {
  /** `NAME`, `NAME@VERSION` or an absolute path each; later ones lie over earlier ones. */
  readonly images: readonly string[];
  readonly state: RootState;
  /** The most bytes of a volatile root; absent: the kernel's default for a tmpfs. */
  readonly size?: number;
  /** The most files, folders and links of a volatile root; absent: as many as fit its size (tmpfs-limits.ts). */
  readonly inodes?: number;
  readonly shift: Shift;
  readonly nosuid: boolean;
  readonly nodev: boolean;
  /** The root is read-only; it has no upper layer. */
  readonly readOnly: boolean;
  /** First id of the range; absent: the broker reserves one. */
  readonly range?: number;
  /** true: the root of the next lease is built when the last root is gone; false: when a tenant asks for it. */
  readonly ready: boolean;
  /** Each folder before what is inside it. */
  readonly binds: readonly BindSpec[];
}

/** One berth, ready to be opened. Two specs of the same configuration are deeply equal. */
export interface BerthSpec {
  /** `NAME` or `TEMPLATE@INSTANCE`. */
  readonly name: string;
  readonly origin: Origin;
  readonly sockets: readonly SocketSpec[];
  readonly tenant: TenantSpec;
  /** Who may see the berth and report its players, but not take it. Absent: nobody else. */
  readonly observer?: TenantSpec;
  readonly server: ServerSpec;
  readonly root?: RootSpec;
}
