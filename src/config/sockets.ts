/** The `[sockets.NAME]` sections: their keys, and a SocketSpec of each. Pure. */
import { type ListenAddress, mappedIPv4, parseListenAddress } from "../address.ts";
import { gid, uid } from "./account-readers.ts";
import { isSocketName, SOCKET_NAME_RULE } from "./name.ts";
import { duration, flag, integer, listOf, matching, octal, type Reader, size, text } from "./reader.ts";
import { asTable, type Context, type DefaultedKey, type Key, openSection, present, type Section } from "./section.ts";
import type { Origin, SocketSpec } from "./spec.ts";
import type { Table, Value } from "./tree.ts";

type PlacedAddress = ListenAddress & { readonly origin: Origin };

/** One message carries 253 descriptors (hazard 1). Three stay free: one is the plan's, two are spare. */
const MAX_DESCRIPTORS = 250;

const listenAddress: Reader<PlacedAddress> = (value, reading) => {
  const written = text(value, reading);
  if (written === undefined) return undefined;
  const address = parseListenAddress(written);
  if (typeof address !== "string") return { ...address, origin: value.origin };
  const remedy = 'write "udp://0.0.0.0:27960", "tcp://[::]:80", "tcp://*:80", "unix:///run/a.sock" or "unix://@name"';
  reading.report(value.origin, `${reading.label}: ${address}`, remedy);
  return undefined;
};

/** The sockets an option applies to: a predicate, and the words for it. */
interface AppliesTo {
  readonly words: string;
  test(listen: ListenAddress): boolean;
}

const isInet = (listen: ListenAddress): boolean => listen.address.family !== "unix";
const inet: AppliesTo = { words: "tcp and udp", test: isInet };
const tcp: AppliesTo = { words: "tcp", test: (listen) => isInet(listen) && listen.kind === "stream" };
const udp: AppliesTo = { words: "udp", test: (listen) => isInet(listen) && listen.kind === "datagram" };
const ipv6: AppliesTo = { words: "tcp and udp over IPv6", test: (listen) => listen.address.family === "ipv6" };
const listening: AppliesTo = { words: "tcp, unix and unix-seqpacket", test: (listen) => listen.kind !== "datagram" };
const onPath: AppliesTo = {
  words: "unix sockets with a path",
  test: ({ address }) => address.family === "unix" && !address.abstract,
};

interface OptionKey<T> extends Key<T> {
  readonly fit?: AppliesTo;
}

function option<T>(
  name: string,
  type: string,
  read: Reader<T>,
  more: { fit?: AppliesTo; unit?: string } = {},
): OptionKey<T> {
  return { name, type, read, ...more, ...(more.fit === undefined ? {} : { appliesTo: more.fit.words }) };
}

function withDefault<T>(
  key: OptionKey<T>,
  fallback: T,
  written: string = JSON.stringify(fallback),
): OptionKey<T> & DefaultedKey<T> {
  return { ...key, fallback, default: written };
}

const INT_MAX = 2 ** 31 - 1;
const deviceName = matching(
  /^[^\s/:]{1,15}$/,
  "an interface's name",
  'write a name that `ip link` lists, as in "eth0"',
);

// SO_RCVBUF and SO_SNDBUF are doubled by the kernel and kept in an int (socket(7)).
const bufferSize = size(2 ** 30 - 1);
const bytes = { unit: "bytes" };

const keys = {
  listen: option("listen", "array of addresses", listOf(listenAddress)),
  backlog: withDefault(
    option("backlog", "integer", integer(1, INT_MAX), { fit: listening, unit: "connections" }),
    4096,
  ),
  receiveBuffer: option("receive-buffer", "size", bufferSize, bytes),
  sendBuffer: option("send-buffer", "size", bufferSize, bytes),
  freebind: option("freebind", "boolean", flag, { fit: inet }),
  v6only: withDefault(option("v6only", "boolean", flag, { fit: ipv6 }), true),
  reusePort: option("reuse-port", "boolean", flag, { fit: inet }),
  device: option("device", "interface name", deviceName, { fit: inet }),
  broadcast: option("broadcast", "boolean", flag, { fit: udp }),
  keepAlive: option("keep-alive", "boolean", flag, { fit: tcp }),
  noDelay: option("no-delay", "boolean", flag, { fit: tcp }),
  deferAccept: option("defer-accept", "duration", duration(INT_MAX), { fit: tcp, unit: "seconds" }),
  tos: option("tos", "integer from 0 to 255", integer(0, 255), { fit: inet }),
  priority: option("priority", "integer from 0 to 6", integer(0, 6), { fit: inet }),
  mark: option("mark", "integer from 0 to 4294967295", integer(0, 2 ** 32 - 1), { fit: inet }),
  packetInfo: option("packet-info", "boolean", flag, { fit: udp }),
  mode: withDefault(option("mode", "octal string", octal, { fit: onPath }), 0o666, '"0666"'),
  owner: option("owner", "user name or id", uid, { fit: onPath }),
  group: option("group", "group name or id", gid, { fit: onPath }),
};

/** The keys of `[sockets.NAME]`. */
export const socketKeys: readonly Key<unknown>[] = Object.values(keys);

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
  return sockets;
}

function readSocket(name: string, value: Value, context: Context): SocketSpec {
  const section = openSection(`sockets.${name}`, value, keys, context);
  const listen = section.optional(keys.listen) ?? [];
  if (value.kind === "table") checkListen(name, value, context);
  const options = {
    backlog: section.value(keys.backlog),
    v6only: section.value(keys.v6only),
    mode: section.value(keys.mode),
    ...present({
      receiveBuffer: section.optional(keys.receiveBuffer),
      sendBuffer: section.optional(keys.sendBuffer),
      freebind: section.optional(keys.freebind),
      reusePort: section.optional(keys.reusePort),
      device: section.optional(keys.device),
      broadcast: section.optional(keys.broadcast),
      keepAlive: section.optional(keys.keepAlive),
      noDelay: section.optional(keys.noDelay),
      deferAccept: section.optional(keys.deferAccept),
      tos: section.optional(keys.tos),
      priority: section.optional(keys.priority),
      mark: section.optional(keys.mark),
      packetInfo: section.optional(keys.packetInfo),
      owner: section.optional(keys.owner),
      group: section.optional(keys.group),
    }),
  };
  const socket = { name, listen, options };
  checkFit(socket, section, context);
  checkIPv6(socket, section, context);
  return socket;
}

function checkListen(name: string, table: Table, context: Context): void {
  const listen = table.entries.get("listen");
  if (listen !== undefined && (listen.kind !== "list" || listen.items.length > 0)) return;
  const origin = listen?.origin ?? table.origin;
  context.report(origin, `[sockets.${name}] has no address to listen on`, 'add listen = ["udp://*:27960"]');
}

/** Reports an option that applies to none of the socket's addresses, because it would have no effect. */
function checkFit(socket: SocketSpec, { table }: Section, { report }: Context): void {
  if (socket.listen.length === 0) return;
  for (const { name, fit } of Object.values<OptionKey<unknown>>(keys)) {
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
        `write [${address.host}%eth0] with your interface`,
      );
    }
  }
}
