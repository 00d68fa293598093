/**
 * The types of io.berthd.Broker, as its text says. test/varlink/types.test.ts fails when the two differ.
 * To write this file again: `npm test -- test/varlink/types.test.ts -u`.
 */
export interface Descriptor {
  readonly name: string;
  readonly kind: "stream" | "datagram" | "seqpacket" | "root" | "stash";
  readonly address?: string | null | undefined;
  readonly index?: number | null | undefined;
}

export interface Lease {
  readonly id: string;
  readonly pid: number;
  readonly uid: number;
  readonly unit?: string | null | undefined;
  readonly since?: number | null | undefined;
}

export interface Range {
  readonly base: number;
  readonly count: number;
}

export interface Start {
  readonly state: "waiting" | "queued" | "starting" | "running" | "failed";
  readonly failures: number;
  readonly reason?: string | null | undefined;
  readonly status?: number | null | undefined;
  readonly signal?: string | null | undefined;
  readonly next?: number | null | undefined;
}

export interface Root {
  readonly images: readonly string[];
  readonly state: "persistent" | "volatile" | "readonly";
  readonly strategy?: "idmap" | "metacopy" | "none" | null | undefined;
  readonly newer?: readonly string[] | null | undefined;
}

export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly message: string;
  readonly remedy?: string | null | undefined;
}

export interface Wait {
  readonly for: "repair" | "lock" | "guard";
  readonly pid?: number | null | undefined;
  readonly message: string;
}

export interface Wake {
  readonly at: number;
  readonly cause: "datagram" | "connection";
  readonly socket?: string | null | undefined;
}

export interface Query {
  readonly type: string;
  readonly host?: string | null | undefined;
  readonly port?: number | null | undefined;
}

export interface Players {
  readonly count: number;
  readonly max?: number | null | undefined;
  readonly name?: string | null | undefined;
  readonly map?: string | null | undefined;
  readonly at: number;
}

export interface Sdk {
  readonly protocol: "agones";
  readonly grpc: number;
  readonly http: number;
  readonly uid?: number | null | undefined;
  readonly watchdog?: number | null | undefined;
}

export interface Draining {
  readonly began: number;
  readonly deadline?: number | null | undefined;
  readonly joins?: "queue" | "refuse" | "serve" | null | undefined;
  readonly note?: string | null | undefined;
}

export interface Berth {
  readonly name: string;
  readonly state: "vacant" | "occupied" | "handover";
  readonly descriptors: readonly Descriptor[];
  readonly range?: Range | null | undefined;
  readonly root?: Root | null | undefined;
  readonly lease?: Lease | null | undefined;
  readonly ready?: boolean | null | undefined;
  readonly status?: string | null | undefined;
  readonly outdated?: boolean | null | undefined;
  readonly older?: readonly string[] | null | undefined;
  readonly start?: Start | null | undefined;
  readonly kept?: number | null | undefined;
  readonly problems?: readonly Problem[] | null | undefined;
  readonly wait?: Wait | null | undefined;
  readonly since?: number | null | undefined;
  readonly restarts?: number | null | undefined;
  readonly wake?: Wake | null | undefined;
  readonly query?: Query | null | undefined;
  readonly players?: Players | null | undefined;
  readonly drain?: Draining | null | undefined;
  readonly sdk?: Sdk | null | undefined;
}

export interface BrokerMethods {
  readonly List: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly berths: readonly Berth[];
    };
  };
  readonly GetStateFolder: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly folder?: string | null | undefined;
    };
  };
  readonly Acquire: {
    readonly parameters: {
      readonly berth: string;
      readonly replace?: "no" | "try" | "must" | null | undefined;
    };
    readonly reply: {
      readonly lease: string;
      readonly descriptors: readonly Descriptor[];
      readonly range?: Range | null | undefined;
    };
  };
  readonly Release: {
    readonly parameters: {
      readonly lease: string;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
  readonly Stash: {
    readonly parameters: {
      readonly lease: string;
      readonly name: string;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
  readonly Unstash: {
    readonly parameters: {
      readonly lease: string;
      readonly name: string;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
  readonly Ready: {
    readonly parameters: {
      readonly lease: string;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
  readonly Launch: {
    readonly parameters: {
      readonly berth: string;
      readonly command?: readonly string[] | null | undefined;
      readonly environment?: Readonly<Record<string, string>> | null | undefined;
      readonly replace?: "no" | "try" | "must" | null | undefined;
    };
    readonly reply: {
      readonly lease: string;
      readonly plan: number;
      readonly range?: Range | null | undefined;
    };
  };
  readonly Stop: {
    readonly parameters: {
      readonly berth: string;
    };
    readonly reply: {
      readonly lease?: Lease | null | undefined;
      readonly unit?: string | null | undefined;
      readonly killed: boolean;
      readonly again: boolean;
    };
  };
  readonly Drain: {
    readonly parameters: {
      readonly berth: string;
      readonly within?: number | null | undefined;
    };
    readonly reply: {
      readonly drain?: Draining | null | undefined;
      readonly lease?: Lease | null | undefined;
      readonly unit?: string | null | undefined;
    };
  };
  readonly CancelDrain: {
    readonly parameters: {
      readonly berth: string;
    };
    readonly reply: {
      readonly drain?: Draining | null | undefined;
    };
  };
  readonly Intercept: {
    readonly parameters: {
      readonly lease: string;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
  readonly Reload: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly berths: number;
      readonly problems: readonly Problem[];
    };
  };
  readonly Watch: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly event:
        | "present"
        | "added"
        | "changed"
        | "removed"
        | "acquired"
        | "ready"
        | "handover"
        | "released"
        | "repaired"
        | "starting"
        | "failed"
        | "stopping"
        | "status"
        | "players";
      readonly berth: Berth;
    };
  };
  readonly Report: {
    readonly parameters: {
      readonly berth: string;
      readonly players?: number | null | undefined;
      readonly max?: number | null | undefined;
      readonly name?: string | null | undefined;
      readonly map?: string | null | undefined;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
  readonly Speak: {
    readonly parameters: {
      readonly berth: string;
      readonly lease: string;
      readonly ready?: boolean | null | undefined;
      readonly status?: string | null | undefined;
      readonly players?: number | null | undefined;
      readonly max?: number | null | undefined;
      readonly end?: "stop" | "abort" | null | undefined;
    };
    readonly reply: Readonly<Record<string, never>>;
  };
}
