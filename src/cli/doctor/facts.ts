/** What `berth doctor` knows of a machine. Types only: read-facts.ts fills them in, and diagnosis.ts judges them. */

export interface Facts {
  /** Whether the broker of this user is root's. */
  readonly isRoot: boolean;
  /** uname(2): `6.18.5-amd64`. */
  readonly kernel: string;
  /** Whether seccomp reports calls to another process (SECCOMP_RET_USER_NOTIF); undefined: unknown. */
  readonly reportsCalls: boolean | undefined;
  /** Capabilities that this process and those it starts can have, such as `CAP_NET_ADMIN`. */
  readonly capabilities: ReadonlySet<string>;
  /** Values of settings, by their names in sysctl(8); absent where this kernel has none. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Why this user cannot make a user namespace, as `EPERM`; undefined if it can. */
  readonly userNamespaceError: string | undefined;
  /** Hard limit of open files. */
  readonly openFiles: number;
  /** Version of Node, without the `v`. */
  readonly node: string;
  /** Version of this package, and the oldest Node that it takes. */
  readonly version: string;
  readonly nodeNeeded: string;
  readonly broker: BrokerFacts;
  readonly config: ConfigFacts;
  /** Undefined where systemd does not run, or not for this user. */
  readonly systemd: SystemdFacts | undefined;
}

/** The broker that clients of this user reach. */
export type BrokerFacts =
  | { readonly answers: true; readonly version: string }
  | { readonly answers: false; readonly why: string };

export interface ConfigFacts {
  readonly berths: number;
  readonly problems: number;
  /** The lowest port of TCP or UDP below 1024 that a berth has, and whose it is. */
  readonly lowestPort: { readonly port: number; readonly berth: string } | undefined;
  /** Whether a berth has a root. */
  readonly hasRoots: boolean;
}

export interface SystemdFacts {
  readonly version: number;
  readonly units: readonly UnitFacts[];
  /** Of a user other than root: whether its units run while it is logged out. */
  readonly lingers: boolean | undefined;
}

export interface UnitFacts {
  readonly name: string;
  /** Where the file is; undefined where there is none. */
  readonly path: string | undefined;
  /** Of a file that `berth units install` wrote: whether this version would write the same. */
  readonly isCurrent: boolean;
  /** Programs that the file starts and that are not there. */
  readonly missingPrograms: readonly string[];
  /** `active`, `inactive`, `failed` … (systemctl(1)). */
  readonly active: string;
  /** `enabled`, `disabled`, `static` … */
  readonly enabled: string;
  /** Whether systemd has an older text of the file. */
  readonly needsReload: boolean;
}
