/** Which users servers of the fleet may run as. */
import type { Json, JsonObject } from "../../model/fields.ts";

/** What the operator of this host allows. */
export interface UserRules {
  /** Names or ids. Without one of them a server has ids of its berth's own range. */
  readonly users: readonly string[];
}

/** Of Linux: the id above means "no change". */
const MAX_ID = 0xffff_fffe;

/** `passwd`: the text of passwd(5). */
export function userProblem({ user }: JsonObject, { users }: UserRules, passwd: () => string): string | undefined {
  if (user === undefined) return undefined; // the broker starts none as root without it
  if (typeof user === "string" && /^range(?::\d+)?$/.test(user)) return undefined; // nobody else has these ids
  const name = JSON.stringify(user);
  if (!isUser(user)) return `server.user is ${name}, and must be "range", a user's name, or an id from 1 to ${MAX_ID}`;
  const ids = users.length === 0 ? new Map<string, number>() : idsIn(passwd());
  const id = idOf(user, ids);
  if (users.some((one) => (idOf(one, ids) ?? one) === (id ?? user))) return undefined;
  return `this host runs no server as user ${name} for the fleet; --allow-user of its agent allows it`;
}

/** A specifier in the name becomes another name in the broker. Id 0 is one, so that --allow-user root means it, too. */
function isUser(user: Json): user is string | number {
  const id = typeof user === "string" && /^\d+$/.test(user) ? Number(user) : user;
  if (typeof id === "number") return Number.isInteger(id) && id >= 0 && id <= MAX_ID;
  return typeof id === "string" && /^[^%:\p{Cc}]+$/u.test(id) && id.trim() === id;
}

/** The ids by name. */
function idsIn(passwd: string): ReadonlyMap<string, number> {
  const lines = passwd.split("\n").map((line) => line.split(":"));
  return new Map(lines.map(([name = "", , id = ""]) => [name, Number(id)]));
}

/** Undefined: passwd(5) has no such user, as of a directory service. */
function idOf(user: string | number, ids: ReadonlyMap<string, number>): number | undefined {
  if (typeof user === "number") return user;
  return /^\d+$/.test(user) ? Number(user) : ids.get(user);
}
