/** Readers of users and groups: names the system knows, or ids. */
import type { PasswdEntry } from "./lookup.ts";
import { type Reader, type Reading, refuse } from "./reader.ts";
import type { Value } from "./tree.ts";

/** (uid_t)-1 means "no change" to the kernel, so the highest id is one below. */
const ID_MAX = 0xffff_fffe;
/** Ids of a berth's range. */
const RANGE = 65_536;

/** A name, or an id written as a number or as digits. */
function nameOrId(value: Value, reading: Reading): string | number | undefined {
  const written = value.kind === "scalar" ? value.value : undefined;
  const id = typeof written === "string" && /^\d{1,10}$/.test(written) ? Number(written) : written;
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= ID_MAX) return id;
  if (typeof id === "string" && id !== "" && !/[\0:\s]/.test(id)) return id;
  return refuse(value, reading, "a name or a numeric id", `write a name in quotes, or an id from 0 to ${ID_MAX}`);
}

function absent(kind: "user" | "group", name: string | number, value: Value, { label, report }: Reading): undefined {
  const add = kind === "user" ? "useradd --system" : "groupadd --system";
  const remedy = typeof name === "number" ? "name one that exists" : `create it (${add} ${name}), or correct the name`;
  report(
    value.origin,
    `${label}: there is no ${kind} ${typeof name === "number" ? name : `"${name}"`} on this system`,
    remedy,
  );
}

/** A user's id. A numeric one need not exist. */
export const uid: Reader<number> = (value, reading) => {
  const name = nameOrId(value, reading);
  if (typeof name !== "string") return name;
  return reading.lookup.passwd(name)?.uid ?? absent("user", name, value, reading);
};

/** A group's id. A numeric one need not exist. */
export const gid: Reader<number> = (value, reading) => {
  const name = nameOrId(value, reading);
  if (typeof name !== "string") return name;
  return reading.lookup.group(name)?.gid ?? absent("group", name, value, reading);
};

/** A user with everything a process of theirs needs, so it must exist even if given by id. */
const account: Reader<PasswdEntry> = (value, reading) => {
  const name = nameOrId(value, reading);
  if (name === undefined) return undefined;
  return reading.lookup.passwd(name) ?? absent("user", name, value, reading);
};

/** A user of the system; or an id inside the berth's own range: "range" is 0, "range:ID" any. */
export const serverUser: Reader<PasswdEntry | { readonly rangeId: number }> = (value, reading) => {
  const written = value.kind === "scalar" ? value.value : undefined;
  if (typeof written !== "string" || !/^range(:|$)/.test(written)) return account(value, reading);
  const id = /^range(?::(\d{1,5}))?$/.exec(written);
  const rangeId = Number(id?.[1] ?? 0);
  if (id !== null && rangeId < RANGE) return { rangeId };
  return refuse(value, reading, "an id of the range", `write "range", or "range:ID" with an ID from 0 to ${RANGE - 1}`);
};
