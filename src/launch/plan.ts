/** A launch plan: everything `berth-launch` must do between receiving the descriptors and exec. */

/** A resource limit of a plan, by its setrlimit(2) name in lower case: "nofile". */
export interface Rlimit {
  readonly resource: string;
  /** "unlimited" is RLIM_INFINITY. Cut to the hard limit where that is kept. */
  readonly soft: number | "unlimited";
  /** "keep" leaves it as the launcher has it. */
  readonly hard: number | "unlimited" | "keep";
}

/** The root that the launcher enters. Each `index` is the number of a descriptor in the message. */
export interface PlanRoot {
  /** The user namespace to join. All ids and paths of the plan are inside it. */
  readonly userns: number;
  /** The detached mount that becomes `/`. */
  readonly mount: number;
  /** Keep the launcher's supplementary groups: this namespace forbids setgroups(2). */
  readonly keepGroups: boolean;
  /** Detached mounts and where in the root they are placed, in this order. */
  readonly mounts: readonly { readonly index: number; readonly target: string }[];
  /** Folders and files of the launcher's own tree, placed after the mounts. The launcher must be able to reach them. */
  readonly binds: readonly { readonly source: string; readonly target: string; readonly readOnly: boolean }[];
}

/** NOTIFY_SOCKET and the watchdog variables, sd_notify(3). */
export interface PlanNotify {
  /** NOTIFY_SOCKET. */
  readonly address: string;
  /** WATCHDOG_USEC for the server's process; 0 leaves it unset. */
  readonly watchdog: number;
}

export interface Plan {
  readonly lease: string;
  /** Program and arguments, fully expanded. A program without `/` is searched in the PATH of the new environment. */
  readonly argv: readonly string[];
  /** Start from the launcher's environment (true) or from an empty one. */
  readonly inheritEnvironment: boolean;
  /** Variables set on top. */
  readonly environment: Readonly<Record<string, string>>;
  /** The launcher sets LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES. It always removes inherited ones. */
  readonly listenFds: boolean;
  /** The launcher installs the bind filter, which reports each bind(2) of the server to the broker (Intercept). */
  readonly reportBinds: boolean;
  /** The launcher installs a filter that refuses to make or enter namespaces. Absent: false. */
  readonly noNamespaces?: boolean;
  /** The process that may ptrace the server under Yama. Absent if the broker may do so anyway. */
  readonly tracer?: number;
  /**
   * Names of the descriptors to place at fd 3, 4, …: entry i is the message's fd number `index`, from 1: 0 is the plan.
   */
  readonly fds: readonly { readonly name: string; readonly index: number }[];
  /** Absent: keep the launcher's ids; a launcher that is root then refuses. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  /** Capability numbers kept as ambient; every other one is dropped from all five sets. */
  readonly capabilities: readonly number[];
  readonly limits: readonly Rlimit[];
  readonly umask: number;
  readonly directory?: string;
  /** The notify socket for the server, unless its messages go to the service manager that started the launcher. */
  readonly notify?: PlanNotify;
  /**
   * The descriptor of a listening UNIX socket: the server gets a terminal of its own, and readers of it connect there.
   */
  readonly console?: number;
  /** Absent: the launcher's own root stays. */
  readonly root?: PlanRoot;
}
