/** The table of socket options against the kernel: each row is read from a configuration and set on real sockets. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openSocket } from "../../../src/broker/plans/open-socket.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { socketKey } from "../../../src/broker/sockets/socket-key.ts";
import { carriedOptions } from "../../../src/config/keys/carried-options.ts";
import {
  fixedAtBind,
  type KernelOption,
  listenerReuse,
  type SocketOption,
  type SocketOptions,
  settingsFor,
  socketOptions,
} from "../../../src/config/keys/socket-options.ts";
import type { Reading } from "../../../src/config/toml/reader.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { familyNumber, formatListenAddress, type ListenAddress, parseListenAddress } from "../../../src/net/address.ts";
import { typeNumber } from "../../../src/net/transport.ts";
import { TestFolder } from "../../support/broker.ts";
import { openFds } from "../../support/fds.ts";
import { isRoot } from "../../support/needs.ts";

const defaults: SocketOptions = { backlog: 4096, v6only: true, mode: 0o666 };
const rows = Object.entries<SocketOption<unknown>>(socketOptions);
const inKernel = rows.filter(([, { sets }]) => sets.length > 0);

function address(text: string): ListenAddress {
  const parsed = parseListenAddress(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

const kinds = [
  "tcp://127.0.0.1:0",
  "tcp://[::1]:0",
  "tcp://*:0",
  "udp://127.0.0.1:0",
  "udp://[::1]:0",
  "unix://@berthd-options",
  "unix-dgram://@berthd-options",
  "unix-seqpacket://@berthd-options",
].map(address);

/** Something other than the default that may be written for a key of that type. */
function sample(type: string): string | number | boolean {
  if (type === "boolean") return true;
  if (type === "size") return "50K";
  if (type === "duration") return "10s";
  if (type === "interface name") return "lo";
  if (type === "octal string") return "0640";
  return Number(/ to (\d+)$/.exec(type)?.[1] ?? 7);
}

function read({ type, read }: SocketOption<unknown>): unknown {
  const reading: Reading = {
    label: "sockets.game.option",
    report: (_, message) => expect.fail(message),
    accounts: { passwd: () => undefined, group: () => undefined },
  };
  return read({ kind: "scalar", value: sample(type), origin: { file: "a.toml", line: 1 } }, reading);
}

function kernelValue(fd: number, { level, option, words }: KernelOption): string {
  const value = new Int32Array(words);
  check("getsockopt", native.getsockopt(fd, level, option, value));
  return value.join();
}

function fresh(listen: ListenAddress): FdHandle {
  return FdHandle.adopt(check("socket", native.socket(familyNumber(listen.address), typeNumber(listen.kind), 0)));
}

test.each(rows)("%s: its reader takes what its type says", (_, row) => {
  expect(read(row)).toBeDefined();
});

test.each(inKernel)("%s: is set on a real socket of each kind that it names, and on no other", (key, row) => {
  const before = openFds();
  const options: SocketOptions = { ...defaults, [key]: read(row) };
  let set = 0;
  for (const listen of kinds) {
    const settings = settingsFor(row.when, listen, options).filter(({ kernel }) =>
      row.sets.some((own) => own.kernel === kernel),
    );
    expect({ on: formatListenAddress(listen), count: Math.min(1, settings.length) }).toEqual({
      on: formatListenAddress(listen),
      count: row.fit?.test(listen) === false ? 0 : 1,
    });
    if (settings.length === 0 || (row.name === "mark" && !isRoot)) continue;
    using socket = openSocket(listen, options, native);
    using usual = fresh(listen);
    for (const { kernel, value } of settings) {
      // [::] of tcp://* is what a new socket is already, unless the host says otherwise (net.ipv6.bindv6only).
      if (value === 0) expect(kernelValue(socket.fd, kernel)).toBe("0");
      else
        expect([kernel.name, kernelValue(socket.fd, kernel)]).not.toEqual([kernel.name, kernelValue(usual.fd, kernel)]);
      set++;
    }
  }
  if (row.name !== "mark" || isRoot) expect(set).toBeGreaterThan(0);
  expect(openFds()).toEqual(before);
});

test("what is set by listen(2) or on the path is set when the socket is bound", () => {
  using folder = new TestFolder();
  const path = join(folder.path, "a.sock");
  using _socket = HeldSocket.open(address(`unix://${path}`), { ...defaults, mode: 0o640 }, native);
  expect(statSync(path).mode & 0o777).toBe(0o640);
  const elsewhere = rows.filter(([, { sets }]) => sets.length === 0).map(([, { name, when }]) => [name, when]);
  expect(elsewhere).toEqual([
    ["backlog", "listen"],
    ["mode", "path"],
    ["owner", "path"],
    ["group", "path"],
  ]);
});

test.each<["unbound" | "bind" | "any", string, Partial<SocketOptions>, Record<string, number | string>]>([
  ["unbound", "tcp://[::1]:1", {}, { IPV6_V6ONLY: 1 }],
  ["unbound", "tcp://[::1]:1", { v6only: false }, { IPV6_V6ONLY: 0 }],
  ["unbound", "tcp://*:1", {}, { IPV6_V6ONLY: 0 }],
  ["unbound", "tcp://127.0.0.1:1", {}, {}],
  ["bind", "tcp://127.0.0.1:1", { freebind: true, device: "lo" }, { IP_FREEBIND: 1, SO_BINDTODEVICE: "lo" }],
  ["bind", "tcp://[::1]:1", { freebind: true }, { IPV6_FREEBIND: 1 }],
  ["bind", "tcp://[::1]:1", { freebind: false, reusePort: false }, {}],
  ["any", "udp://[::1]:1", { broadcast: false, reusePort: true }, { SO_BROADCAST: 0 }],
  ["any", "udp://127.0.0.1:1", { tos: 8, packetInfo: true }, { IP_TOS: 8, IP_PKTINFO: 1 }],
  ["any", "udp://[::1]:1", { tos: 8, packetInfo: true }, { IPV6_TCLASS: 8, IPV6_RECVPKTINFO: 1 }],
  ["any", "udp://[::1]:1", { tos: 8, v6only: false }, { IP_TOS: 8, IPV6_TCLASS: 8 }],
  ["any", "udp://*:1", { tos: 8 }, { IP_TOS: 8, IPV6_TCLASS: 8 }],
  ["any", "unix://@a", { tos: 8, broadcast: true }, {}],
])("at %s, on %s, %j sets %j", (when, listen, options, expected) => {
  const settings = settingsFor(when, address(listen), { ...defaults, ...options });
  expect(Object.fromEntries(settings.map(({ kernel, value }) => [kernel.name, value]))).toEqual(expected);
});

test("an option of the kernel has the name of the manual page", () => {
  const names = rows.map(([key, { sets }]) => [key, sets.map(({ kernel }) => kernel.name).join(" ")]);
  expect(Object.fromEntries(names)).toEqual({
    backlog: "",
    receiveBuffer: "SO_RCVBUF",
    sendBuffer: "SO_SNDBUF",
    freebind: "IP_FREEBIND IPV6_FREEBIND",
    v6only: "IPV6_V6ONLY",
    reusePort: "SO_REUSEPORT",
    device: "SO_BINDTODEVICE",
    broadcast: "SO_BROADCAST",
    keepAlive: "SO_KEEPALIVE",
    noDelay: "TCP_NODELAY",
    deferAccept: "TCP_DEFER_ACCEPT",
    tos: "IP_TOS IPV6_TCLASS",
    priority: "SO_PRIORITY",
    mark: "SO_MARK",
    packetInfo: "IP_PKTINFO IPV6_RECVPKTINFO",
    mode: "",
    owner: "",
    group: "",
  });
  expect(listenerReuse.name).toBe("SO_REUSEADDR");
  expect(carriedOptions).toContain(socketOptions.receiveBuffer.sets[0]?.kernel);
  expect([...new Set(carriedOptions.map(({ name }) => name))]).toHaveLength(carriedOptions.length);
  expect(
    carriedOptions.map(({ name }) => name).filter((name) => !/^(SO|IP|IPV6|TCP|UDP)_[A-Z0-9_]+$/.test(name)),
  ).toEqual([]);
});

test("what is fixed at bind(2) is written with its keys, except those that are left out", () => {
  const options: SocketOptions = { ...defaults, freebind: true, device: "lo", tos: 8 };
  expect(fixedAtBind(options, [])).toEqual(["freebind=true", "v6only=true", "device=lo"]);
  expect(fixedAtBind(options, ["v6only", "device"])).toEqual(["freebind=true"]);
});

test("another value of an option that is fixed at bind(2) opens another socket; any other option keeps it", () => {
  const listen = address("udp://[::1]:0");
  const usual = socketKey(listen, defaults);
  const changing = rows.filter(([key, row]) => {
    const value = key === "v6only" ? false : read(row);
    return socketKey(listen, { ...defaults, [key]: value }) !== usual;
  });
  expect(changing.map(([key]) => key).sort()).toEqual(
    rows
      .filter(([, { when }]) => ["unbound", "bind"].includes(when))
      .map(([key]) => key)
      .sort(),
  );
  // In the stores of running brokers: it must not change.
  expect(socketKey(listen, { ...defaults, device: "lo", freebind: true })).toBe("udp://[::1]:0 lo true false true");
});

test("an option of the kernel stands in the table once", () => {
  const numbers = carriedOptions.map(({ level, option }) => `${level} ${option}`);
  expect(new Set(numbers).size).toBe(numbers.length);
  const all = [...carriedOptions, ...inKernel.flatMap(([, { sets }]) => sets.map(({ kernel }) => kernel))];
  const byNumber = new Map(all.map((kernel) => [`${kernel.level} ${kernel.option}`, kernel]));
  expect(all.filter((kernel) => byNumber.get(`${kernel.level} ${kernel.option}`) !== kernel)).toEqual([]);
});
