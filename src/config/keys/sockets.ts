/** The `[sockets.NAME]` sections: their keys, and a SocketSpec of each. Pure. */
import { type ListenAddress, mappedIPv4, parseListenAddress } from "../../net/address.ts";
import { isSocketName, SOCKET_NAME_RULE } from "../toml/name.ts";
import type { Origin } from "../toml/problem.ts";
import { listOf, type Reader, text } from "../toml/reader.ts";
import { asTable, type Context, type Key, openSection, present, type Section } from "../toml/section.ts";
import type { Table, Value } from "../toml/tree.ts";
import { type SocketOption, type SocketOptions, socketOptions } from "./socket-options.ts";
import type { SocketSpec } from "./spec.ts";

type PlacedAddress = ListenAddress & { readonly origin: Origin };

/** One message carries 253 descriptors (hazard 1). Three stay free: one is the plan's, two are spare. */
const MAX_DESCRIPTORS = 250;

const listenAddress: Reader<PlacedAddress> = (value, reading) => {
  const written = text(value, reading);
  if (written === undefined) return undefined;
  const address = parseListenAddress(written);
  // Without object spread: that makes a hidden class for each.
  if (typeof address !== "string")
    return {
      kind: address.kind,
      address: address.address,
      dualStack: address.dualStack,
      origin: value.origin,
    };
  const remedy = 'write "udp://0.0.0.0:27960", "tcp://[::]:80", "tcp://*:80", "unix:///run/a.sock" or "unix://@name"';
  reading.report(value.origin, `${reading.label}: ${address}`, remedy);
  return undefined;
};

const listenKey: Key<readonly PlacedAddress[]> = {
  name: "listen",
  type: "array of addresses",
  read: listOf(listenAddress),
};
const keys = { listen: listenKey, ...socketOptions };

/** The keys of `[sockets.NAME]`. */
export const socketKeys: readonly Key<unknown>[] = Object.values<Key<unknown>>(keys);

/** Reads the `[sockets]` table: its sockets in the order written. */
export function readSockets(value: Value, context: Context): SocketSpec[] {
  const sockets: SocketSpec[] = [];
  let descriptors = 0;
  const table = asTable("sockets", value, context);
  for (const [name, entry] of table.entries) {
    if (!isSocketName(name)) {
      context.report(entry.origin, `"${name}" cannot name a socket`, SOCKET_NAME_RULE);
      continue;
    }
    const socket = readSocket(name, entry, context);
    descriptors += socket.listen.length;
    sockets.push(socket);
  }
  if (descriptors > MAX_DESCRIPTORS) {
    const message = `this berth listens on ${descriptors} addresses, and a berth can have at most ${MAX_DESCRIPTORS}`;
    context.report(table.origin, message, "move some of them to another berth");
  }
  return [...sockets]; // of its exact length: one that grew has room for 16 more
}

function readSocket(name: string, value: Value, context: Context): SocketSpec {
  const section = openSection(`sockets.${name}`, value, keys, context);
  const listen = section.optional(keys.listen) ?? [];
  if (value.kind === "table") checkListen(name, value, context);
  const options = readOptions(section);
  const socket = { name, listen, options };
  checkFit(socket, section, context);
  checkIPv6(socket, section, context);
  return socket;
}

/** The value of each option; one without a default is left out when it is not written. */
function readOptions({ table, optional }: Section): SocketOptions {
  return [...table.entries.keys()].every((key) => key === listenKey.name) ? defaultOptions : optionsOf(optional);
}

function optionsOf(read: Section["optional"]): SocketOptions;
function optionsOf(read: Section["optional"]): object {
  return present(Object.fromEntries(rows.map(([key, row]) => [key, read(row) ?? row.fallback])));
}

const rows = Object.entries<SocketOption<unknown>>(socketOptions);
/** One object for all sockets that have no option: most of ten thousand have none. */
const defaultOptions = optionsOf(() => undefined);

function checkListen(name: string, table: Table, context: Context): void {
  const listen = table.entries.get("listen");
  if (listen !== undefined && (listen.kind !== "list" || listen.items.length > 0)) return;
  const origin = listen?.origin ?? table.origin;
  context.report(origin, `[sockets.${name}] has no address to listen on`, 'add listen = ["udp://*:27960"]');
}

/** Reports an option that applies to none of the socket's addresses, because it would have no effect. */
function checkFit(socket: SocketSpec, { table }: Section, { report }: Context): void {
  if (socket.listen.length === 0) return;
  for (const { name, fit } of Object.values<SocketOption<unknown>>(socketOptions)) {
    const entry = table.entries.get(name);
    if (entry === undefined || fit === undefined || socket.listen.some((listen) => fit.test(listen))) continue;
    const message = `sockets.${socket.name}.${name} applies to ${fit.words}, and this socket has no such address`;
    report(entry.origin, message, `remove ${name}, or move it to another socket`);
  }
}

/** Reports what bind(2) would refuse with EINVAL (ipv6(7)). */
function checkIPv6({ name, listen, options }: SocketSpec, { table }: Section, { report }: Context): void {
  const v6only = table.entries.get("v6only");
  for (const { address, dualStack, origin } of listen) {
    if (address.family !== "ipv6") continue;
    if (dualStack && v6only !== undefined && options.v6only) {
      report(
        v6only.origin,
        `sockets.${name}.v6only = true contradicts its address *, which means IPv4 and IPv6`,
        "remove v6only, or write [::] instead of *",
      );
    }
    if (mappedIPv4(address.host) !== undefined && options.v6only) {
      report(
        origin,
        `[${address.host}] is an IPv4 address, which an IPv6-only socket cannot bind`,
        "write it as IPv4, or set v6only = false",
      );
    }
    if (/^fe[89ab]/.test(address.host) && address.scope === undefined && options.device === undefined) {
      report(
        origin,
        `[${address.host}] is link-local and needs an interface`,
        `write [${address.host}%%eth0] with your interface`,
      );
    }
  }
}
