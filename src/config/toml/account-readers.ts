/** Reads users and groups: a name that the system knows, or a numeric id. */
import { MAX_ID, type PasswdEntry, RANGE_SIZE } from "../../accounts.ts";
import { isInteger, type Reader, type Reading, refuse } from "./reader.ts";
import { scalarOf, stringOf, type Value } from "./tree.ts";

/** A name, or an id written as a number or as digits. */
function nameOrId(value: Value, reading: Reading): string | number | undefined {
  const written = scalarOf(value);
  const id = typeof written === "string" && /^\d{1,10}$/.test(written) ? Number(written) : written;
  if (isInteger(id) && id >= 0 && id <= MAX_ID) return id;
  // Directory services have names with spaces ("domain users"). No name ends in one, or has a tab or a newline.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (typeof id === "string" && id !== "" && !/[\u0000-\u001f\u007f:]|^\s|\s$/.test(id)) return id;
  return refuse(
    value,
    reading,
    "a name or a numeric id",
    `write a name in quotes or an id: "nobody", or 0 to ${MAX_ID}`,
  );
}

function absent(kind: "user" | "group", name: string | number, value: Value, { label, report }: Reading): undefined {
  const add = kind === "user" ? "useradd --system" : "groupadd --system";
  const remedy =
    typeof name === "number"
      ? "name one that exists"
      : `correct the name, or create it: ${add} ${/\s/.test(name) ? JSON.stringify(name) : name}`;
  report(
    value.origin,
    `${label}: there is no ${kind} ${typeof name === "number" ? name : `"${name}"`} on this system`,
    remedy,
  );
}

/** A user's id. A numeric id may belong to no user. */
export const uid: Reader<number> = (value, reading) => {
  const name = nameOrId(value, reading);
  if (typeof name !== "string") return name;
  return reading.accounts.passwd(name)?.uid ?? absent("user", name, value, reading);
};

/** A group's id. A numeric id may belong to no group. */
export const gid: Reader<number> = (value, reading) => {
  const name = nameOrId(value, reading);
  if (typeof name !== "string") return name;
  return reading.accounts.group(name)?.gid ?? absent("group", name, value, reading);
};

/** A user with group, home and shell: the user must exist, even if written as an id. */
const account: Reader<PasswdEntry> = (value, reading) => {
  const name = nameOrId(value, reading);
  if (name === undefined) return undefined;
  return reading.accounts.passwd(name) ?? absent("user", name, value, reading);
};

/** A user of the system, or an id inside the berth's range: "range" means "range:0". */
export const serverUser: Reader<PasswdEntry | { readonly rangeId: number }> = (value, reading) => {
  const written = stringOf(value);
  if (!/^range(:|$)/.test(written)) return account(value, reading);
  const id = /^range(?::(\d{1,5}))?$/.exec(written);
  const rangeId = Number(id?.[1] ?? 0);
  if (id !== null && rangeId < RANGE_SIZE) return { rangeId };
  return refuse(
    value,
    reading,
    "an id of the range",
    `write "range", or "range:ID" with an ID from 0 to ${RANGE_SIZE - 1}`,
  );
};
