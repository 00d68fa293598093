/** Which keys a berth file of the fleet may have. */
import { isTable, type Json, type JsonObject } from "../../model/fields.ts";

/** What the operator of this host allows. */
export interface KeyRules {
  /** As `server.capabilities`: keys beside {@link KEYS}. */
  readonly keys: readonly string[];
}

/** The keys of a berth file that give a server nothing that is another's. */
const KEYS: Readonly<Record<string, ReadonlySet<string>>> = {
  sockets: new Set([
    ...["listen", "backlog", "receive-buffer", "send-buffer", "freebind", "v6only", "reuse-port", "broadcast"],
    ...["keep-alive", "no-delay", "defer-accept", "tos", "priority", "packet-info", "mode"],
  ]),
  root: new Set(["image", "state", "size", "inodes", "read-only", "ready"]),
  tenant: new Set(["users", "groups", "units"]),
  operator: new Set(["users", "groups", "units"]),
  observer: new Set(["users", "groups", "units"]),
  server: new Set([
    ...["command", "user", "enter", "deliver", "other-binds", "any-namespace", "environment", "inherit-environment"],
    ...["directory", "umask", "limits", "no-namespaces", "console", "lease", "start", "stop-signal", "stop-timeout"],
    ...["stop-after", "drain", "drain-text", "drain-signal", "drain-command", "watchdog", "query", "sdk"],
    ...["sdk-grpc-port", "sdk-http-port", "asleep", "asleep-as", "wake", "known-networks", "discard-after"],
    ...["hold-login"],
  ]),
};

/** A server with these can keep the host from everyone else: real-time priority, high priority, locked memory. */
const LIMITS = ["rtprio", "nice", "memlock"];

export function keyProblem(config: JsonObject, { keys }: KeyRules): string | undefined {
  for (const [section, value] of Object.entries(config)) {
    const known = Object.hasOwn(KEYS, section) ? KEYS[section] : undefined;
    if (known === undefined) return `a berth of the fleet has no section ${section}`;
    if (!isTable(value)) return `${section} must be a table`;
    const tables = section === "sockets" ? Object.values(value) : [value];
    for (const table of tables) {
      const wrong = keysOf(table).find((key) => !known.has(key) && !keys.includes(`${section}.${key}`));
      if (wrong !== undefined) return refusal(`${section}.${wrong}`);
    }
  }
  return limitProblem(config, keys) ?? imageProblem(config, keys);
}

/** How a key is refused, and what allows it. */
export function refusal(key: string): string {
  return `this host takes no ${key} from the fleet; --allow-key ${key} of its agent allows it`;
}

function limitProblem({ server }: JsonObject, keys: readonly string[]): string | undefined {
  const limits = isTable(server) ? keysOf(server["limits"]) : [];
  const wrong = limits.find((limit) => LIMITS.includes(limit) && !keys.includes(`server.limits.${limit}`));
  return wrong === undefined ? undefined : refusal(`server.limits.${wrong}`);
}

function imageProblem({ root }: JsonObject, keys: readonly string[]): string | undefined {
  const images = isTable(root) ? [root["image"]].flat() : [];
  const path = images.find((image) => typeof image === "string" && image.startsWith("/"));
  if (path === undefined || keys.includes("root.image")) return undefined;
  return `this host takes only images with a name from the fleet, and not ${path}; --allow-key root.image of its agent allows it`;
}

/** None of what is no table: the broker refuses that. */
function keysOf(value: Json | undefined): readonly string[] {
  return isTable(value) ? Object.keys(value) : [];
}
