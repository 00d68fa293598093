/** `server.query`: how to ask the server who plays. The broker only passes it on; it asks no server. Pure. */
import { integer, matching, type Reader, refuse } from "../toml/reader.ts";
import { suggest } from "../toml/suggest.ts";
import type { QuerySpec } from "./spec.ts";

const EXAMPLE = 'write { type = "quake3", port = 27960 }';

const type = matching(/^[a-z0-9-]{1,32}$/, "1 to 32 of a-z 0-9 -", 'write the name of a protocol, as in "quake3"');
const port = integer(1, 65_535);
const host = matching(/^[A-Za-z0-9._:%-]{1,255}$/, "an address or a host's name", 'write it as in "127.0.0.1"');

const keys = ["type", "port", "host"];

/** Reads the table. Without a port it is that of the berth's first socket. `hasPort`: there is one with a port. */
export function queryReader(hasPort: boolean): Reader<QuerySpec> {
  return (value, reading) => {
    if (value.kind !== "table") return refuse(value, reading, "a table", EXAMPLE);
    for (const [name, entry] of value.entries)
      if (!keys.includes(name))
        reading.report(entry.origin, `${reading.label} has no key "${name}"`, suggest(name, keys));
    const entryOf = <T>(name: string, read: Reader<T>): T | undefined => {
      const entry = value.entries.get(name);
      return entry === undefined ? undefined : read(entry, { ...reading, label: `${reading.label}.${name}` });
    };
    if (!value.entries.has("type")) reading.report(value.origin, `${reading.label} has no type`, EXAMPLE);
    if (!value.entries.has("port") && !hasPort)
      reading.report(value.origin, `${reading.label} has no port, and the berth has no tcp or udp socket`, EXAMPLE);
    const [is, at, of] = [entryOf("type", type), entryOf("port", port), entryOf("host", host)];
    if (is === undefined) return undefined;
    return { type: is, ...(at !== undefined && { port: at }), ...(of !== undefined && { host: of }) };
  };
}
