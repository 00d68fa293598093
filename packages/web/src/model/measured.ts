/** The measurements of one berth, out of those of io.systemd.Metrics. Pure. */
import type { Metric } from "berthd";
import type { SocketFacts } from "../api/shapes.ts";

export interface Measured {
  readonly memory: number | null;
  readonly memoryLimit: number | null;
  /** Processor time since its tenant's control group was made, in seconds. */
  readonly cpuSeconds: number | null;
  readonly restarts: number | null;
  readonly sockets: readonly SocketFacts[];
  /** Of all its sockets. */
  readonly drops: number | null;
  /** Of its fullest socket. */
  readonly queue: number | null;
  /** Of its largest receive buffer. */
  readonly queueLimit: number | null;
  /** How full that is, from 0 to 1. */
  readonly queueFullness: number;
}

/** The families, without what all their names begin with. */
const PREFIX = "io.berthd.Broker.";

interface SocketNumbers {
  readonly name: string;
  readonly address: string;
  queue?: number;
  queueLimit?: number;
  drops?: number;
  waiting?: number;
  waitingLimit?: number;
}

interface Numbers {
  memory?: number;
  memoryLimit?: number;
  cpuSeconds?: number;
  restarts?: number;
  readonly sockets: Map<string, SocketNumbers>;
}

const ofSocket: Readonly<Record<string, "queue" | "queueLimit" | "drops" | "waiting" | "waitingLimit">> = {
  QueueBytes: "queue",
  QueueLimitBytes: "queueLimit",
  Drops: "drops",
  AcceptQueue: "waiting",
  AcceptQueueLimit: "waitingLimit",
};

const ofBerth: Readonly<Record<string, "memory" | "memoryLimit" | "cpuSeconds" | "restarts">> = {
  TenantMemoryBytes: "memory",
  TenantMemoryLimitBytes: "memoryLimit",
  TenantCpuSeconds: "cpuSeconds",
  Restarts: "restarts",
};

/** By the name of the berth. */
export function measuredOf(metrics: readonly Metric[]): Map<string, Measured> {
  const all = new Map<string, Numbers>();
  for (const { name, value, object, fields } of metrics) {
    if (!name.startsWith(PREFIX) || !object || typeof value !== "number") continue;
    const family = name.slice(PREFIX.length);
    const berth: Numbers = all.get(object) ?? { sockets: new Map() };
    all.set(object, berth);
    const own = ofBerth[family];
    if (own !== undefined) berth[own] = value;
    const key = ofSocket[family];
    if (key !== undefined) socketOf(berth, fields ?? {})[key] = value;
  }
  return new Map([...all].map(([name, numbers]) => [name, measured(numbers)]));
}

function socketOf({ sockets }: Numbers, fields: Readonly<Record<string, string>>): SocketNumbers {
  const name = fields["socket"] ?? "";
  const address = fields["address"] ?? "";
  const key = `${name} ${address}`;
  const known = sockets.get(key) ?? { name, address };
  sockets.set(key, known);
  return known;
}

function measured({ memory, memoryLimit, cpuSeconds, restarts, sockets }: Numbers): Measured {
  const all = [...sockets.values()];
  const queues = all.filter(({ queue }) => queue !== undefined);
  const drops = all.flatMap((one) => (one.drops === undefined ? [] : [one.drops]));
  return {
    memory: memory ?? null,
    memoryLimit: memoryLimit ?? null,
    cpuSeconds: cpuSeconds ?? null,
    restarts: restarts ?? null,
    sockets: all.map(facts),
    drops: drops.length === 0 ? null : drops.reduce((sum, one) => sum + one, 0),
    queue: queues.length === 0 ? null : Math.max(...queues.map(({ queue = 0 }) => queue)),
    queueLimit: queues.length === 0 ? null : Math.max(...queues.map(({ queueLimit = 0 }) => queueLimit)),
    queueFullness: Math.max(
      0,
      ...queues.map(({ queue = 0, queueLimit = 0 }) => (queueLimit > 0 ? queue / queueLimit : 0)),
    ),
  };
}

function facts({ name, address, queue, queueLimit, drops, waiting, waitingLimit }: SocketNumbers): SocketFacts {
  return {
    name,
    address,
    queue: queue === undefined ? null : { bytes: queue, limit: queueLimit ?? null },
    drops: drops ?? null,
    backlog: waiting === undefined || waitingLimit === undefined ? null : { waiting, limit: waitingLimit },
  };
}
