/**
 * What etcd may decide for this host. The broker reads the agent's files as root, so a berth file from etcd may only
 * contain what gives a server no rights of root, unless this host's operator allows it. The broker checks the rest.
 */
import { readFileSync } from "node:fs";
import { Fault } from "../../fault.ts";
import { isTable, type Json, type JsonObject } from "../../model/fields.ts";
import type { Assignment } from "../../model/placement.ts";
import { type SocketRules, socketProblem } from "./sockets.ts";

/** What the operator of this host allows. */
export interface Rules extends SocketRules {
  /** Names or ids. Empty: every user of the host but those with id 0. */
  readonly users: readonly string[];
  /** Folders or programs. Empty: every program. */
  readonly commands: readonly string[];
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
  server: new Set([
    ...["command", "user", "enter", "deliver", "other-binds", "any-namespace", "environment", "inherit-environment"],
    ...["directory", "umask", "limits", "no-namespaces", "console", "lease", "start", "stop-signal", "stop-timeout"],
    ...["stop-after", "drain", "drain-signal", "drain-command", "watchdog", "query", "sdk", "sdk-grpc-port"],
    ...["sdk-http-port", "asleep", "asleep-as", "wake", "known-networks", "discard-after"],
  ]),
};

/** Why this host does not serve the berth; undefined: nothing is against it. `passwd`: the text of passwd(5). */
export function problemOf(
  { berth, config }: Pick<Assignment, "berth" | "config">,
  rules: Rules,
  passwd: () => string = () => readFileSync("/etc/passwd", "utf8"),
): string | undefined {
  const { server = {} } = config;
  try {
    const unfit = socketProblem(config, berth, rules);
    if (unfit !== undefined) return unfit;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
  if (!isTable(server)) return "server must be a table";
  return keyProblem(config, rules) ?? userProblem(server, rules, passwd) ?? commandProblem(server, rules);
}

function keyProblem(config: JsonObject, { keys }: Rules): string | undefined {
  for (const [section, value] of Object.entries(config)) {
    const known = Object.hasOwn(KEYS, section) ? KEYS[section] : undefined;
    if (known === undefined) return `a berth of the fleet has no section ${section}`;
    const tables = section === "sockets" && isTable(value) ? Object.values(value) : [value];
    for (const table of tables) {
      const wrong = Object.keys(isTable(table) ? table : {}).find(
        (key) => !known.has(key) && !keys.includes(`${section}.${key}`),
      );
      if (wrong !== undefined)
        return `this host takes no ${section}.${wrong} from the fleet; --allow-key ${section}.${wrong} of its agent allows it`;
    }
  }
  const { root } = config;
  const images = isTable(root) ? [root["image"]].flat() : [];
  const path = images.find((image) => typeof image === "string" && image.startsWith("/"));
  if (path === undefined || keys.includes("root.image")) return undefined;
  return `this host takes only images with a name from the fleet, and not ${path}; --allow-key root.image of its agent allows it`;
}

function userProblem({ user }: JsonObject, { users }: Rules, passwd: () => string): string | undefined {
  if (user === undefined) return undefined; // the broker starts none as root without it
  if (typeof user === "string" && /^range(?::\d+)?$/.test(user)) return undefined; // nobody else has these ids
  const ids = idsIn(passwd());
  const id = idOf(user, ids);
  const allowed = users.map((one) => idOf(one, ids) ?? one);
  if (allowed.length === 0 ? id !== undefined && id > 0 : allowed.some((one) => one === (id ?? user))) return undefined;
  const name = JSON.stringify(user);
  return `this host runs no server as user ${name} for the fleet; --allow-user of its agent allows it`;
}

/** The ids by name. */
function idsIn(passwd: string): ReadonlyMap<string, number> {
  const lines = passwd.split("\n").map((line) => line.split(":"));
  return new Map(lines.map(([name = "", , id = ""]) => [name, Number(id)]));
}

/** Undefined: passwd(5) has no such user, as of a directory service. */
function idOf(user: Json, ids: ReadonlyMap<string, number>): number | undefined {
  if (typeof user === "number") return user;
  if (typeof user !== "string") return undefined;
  return /^\d+$/.test(user) ? Number(user) : ids.get(user);
}

function commandProblem({ command }: JsonObject, { commands }: Rules): string | undefined {
  if (commands.length === 0) return undefined;
  const [program] = Array.isArray(command) ? command : [];
  const isAllowed = (prefix: string): boolean =>
    program === prefix || String(program).startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
  // A part of the path that is `..` leaves the folder; a specifier or placeholder becomes another text later.
  const isPlain = typeof program === "string" && /^\//.test(program) && !/(?:^|\/)\.\.?(?:\/|$)|[%{]/.test(program);
  if (isPlain && commands.some(isAllowed)) return undefined;
  const name = JSON.stringify(program ?? null);
  return `this host does not run ${name} for the fleet; --allow-command of its agent allows it`;
}
