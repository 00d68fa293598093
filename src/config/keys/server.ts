/** The `[server]` section: the program that a launch runs, and its user. Pure. */

import type { PasswdEntry } from "../../accounts.ts";
import { gid, serverUser } from "../toml/account-readers.ts";
import type { Origin } from "../toml/problem.ts";
import {
  duration,
  flag,
  listOf,
  matching,
  octal,
  type Placed,
  placed,
  type Reader,
  type Reading,
  tableOf,
  text,
  word,
} from "../toml/reader.ts";
import { type Context, type Key, openSection, present, type Section } from "../toml/section.ts";
import { scalarOf, type Value } from "../toml/tree.ts";
import { asleepKeys, readAsleep } from "./asleep.ts";
import { drainKeys, readDrain } from "./drain.ts";
import { capability, readLimit } from "./limit.ts";
import { checkPlaceholders, type PlaceholderTargets } from "./placeholder.ts";
import { queryReader } from "./query.ts";
import { readSdk, sdkKeys } from "./sdk.ts";
import { signalName } from "./signal-name.ts";
import type { Delivery, LeaseSpan, LimitSpec, OtherBinds, ServerSpec, SocketSpec, StartMode } from "./spec.ts";

const delivery: Reader<Delivery> = word<Delivery>("listen-fds", "bind");
const otherBinds: Reader<OtherBinds> = word<OtherBinds>("refuse", "allow", "loopback", "ephemeral");

const commandLine: Reader<readonly Placed<string>[]> = (value, reading) => {
  const words = listOf(placed(text))(value, reading);
  const program = value.kind === "list" ? value.items[0] : undefined;
  if (value.kind === "list" && (program === undefined || scalarOf(program) === "")) {
    reading.report(value.origin, `${reading.label} has no program`, 'write command = ["/path/of/program", "argument"]');
  }
  return words;
};

function variable(name: string, value: Value, reading: Reading): Placed<string> | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    const remedy = "write a name of letters, digits and _ that does not begin with a digit";
    reading.report(value.origin, `"${name}" cannot name an environment variable`, remedy);
  } else if (name.startsWith("LISTEN_")) {
    const remedy = 'remove it; deliver = ["listen-fds"] sets LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES';
    reading.report(value.origin, `${reading.label}: only the launcher sets LISTEN_ variables`, remedy);
  }
  return placed(text)(value, reading);
}

const absolutePath = matching(/^\//, "an absolute path", "write a path that begins with /");

// Node raises the soft limit to the hard one, and select(2) breaks above 1024 (hazard 19).
const defaultLimits: ReadonlyMap<string, LimitSpec> = new Map([
  ["nofile", { resource: "nofile", soft: 1024, hard: "keep" }],
]);
const onlyDefaultLimits: readonly LimitSpec[] = [...defaultLimits.values()];
const noWords: readonly Placed<string>[] = [];
const noCommand: readonly string[] = [];
const noEnvironment: ServerSpec["environment"] = {};
const noVariables: ReadonlyMap<string, Placed<string>> = new Map();
const listenFds: readonly Delivery[] = ["listen-fds"];
const refuse: OtherBinds = "refuse";
const wholeServer: LeaseSpan = "server";
const ADD_ROOT = 'add [root] with image = "NAME"';
const noCapabilities: readonly number[] = [];
const manual: StartMode = "manual";
const DAY = 24 * 3600;
const WEEK = 7 * DAY;

const keys = {
  command: { name: "command", type: "array of strings", read: commandLine, fallback: noWords, default: "[]" },
  user: {
    name: "user",
    type: 'user name or id, "range" or "range:ID"',
    read: serverUser,
    default: "the launcher's user, unless that is root",
  },
  group: { name: "group", type: "group name or id", read: gid, default: "the user's own" },
  enter: { name: "enter", type: "boolean", read: flag, fallback: false, default: "false" },
  deliver: {
    name: "deliver",
    type: 'array of "listen-fds" or "bind"',
    read: listOf(delivery),
    fallback: listenFds,
    default: '["listen-fds"]',
  },
  otherBinds: {
    name: "other-binds",
    type: '"refuse", "allow", "loopback" or "ephemeral"',
    read: otherBinds,
    fallback: refuse,
    default: '"refuse"',
  },
  anyNamespace: { name: "any-namespace", type: "boolean", read: flag, fallback: false, default: "false" },
  environment: {
    name: "environment",
    type: "table of strings",
    read: tableOf(variable),
    fallback: noVariables,
    default: "{}",
  },
  inheritEnvironment: { name: "inherit-environment", type: "boolean", read: flag, fallback: true, default: "true" },
  directory: { name: "directory", type: "absolute path", read: absolutePath, default: "the launcher's directory" },
  umask: { name: "umask", type: "octal string", read: octal, fallback: 0o022, default: '"0022"' },
  limits: {
    name: "limits",
    type: "table of limits",
    read: tableOf(readLimit),
    fallback: defaultLimits,
    default: '{ nofile = "1024:keep" }',
  },
  capabilities: {
    name: "capabilities",
    type: "array of capability names",
    read: listOf(capability),
    fallback: noCapabilities,
    default: "[]",
  },
  noNamespaces: { name: "no-namespaces", type: "boolean", read: flag, fallback: false, default: "false" },
  console: { name: "console", type: "boolean", read: flag, fallback: false, default: "false" },
  lease: {
    name: "lease",
    type: '"server" or "process"',
    read: word<LeaseSpan>("server", "process"),
    fallback: wholeServer,
    default: '"server"',
  },
  start: {
    name: "start",
    type: '"manual" or "on-demand"',
    read: word<StartMode>("manual", "on-demand"),
    fallback: manual,
    default: '"manual"',
  },
  stopSignal: { name: "stop-signal", type: "signal name", read: signalName, default: '"SIGTERM"' },
  stopTimeout: { name: "stop-timeout", type: "duration", read: duration(DAY), default: '"10s"' },
  stopAfter: { name: "stop-after", type: "duration", read: duration(WEEK), default: "never" },
  ...drainKeys,
  watchdog: { name: "watchdog", type: "duration", read: duration(WEEK), default: "none" },
  query: { name: "query", type: "table", read: queryReader(true), default: "none" },
  ...sdkKeys,
  ...asleepKeys,
};

/** The keys of `[server]`. */
export const serverKeys: readonly Key<unknown>[] = Object.values(keys);

/** Reads the `[server]` table. `targets`: what its placeholders may name. */
export function readServer(value: Value, targets: Omit<PlaceholderTargets, "enter">, context: Context): ServerSpec {
  const section = openSection("server", value, keys, context);
  const command = section.value(keys.command);
  const environment = section.value(keys.environment);
  const deliver = section.value(keys.deliver);
  const enter = section.value(keys.enter);
  for (const { value, origin } of [...command, ...environment.values()])
    checkPlaceholders(value, origin, { ...targets, enter }, deliver, context.report);
  const user = section.optional(keys.user);
  checkUser(section, user, enter, targets.root, context);
  const group = section.optional(keys.group);
  checkGroup(section, user, context);
  const limits = section.value(keys.limits);
  const query = section.optional({ ...keys.query, read: queryReader(hasPort(targets.sockets)) });
  const console = section.value(keys.console);
  const start = section.value(keys.start);
  checkStart(section, start, command.length > 0, targets.sockets, context);
  const asleep = readAsleep(section, { start, sockets: targets.sockets }, context);
  const drained = { console, sockets: targets.sockets, protocols: [query?.type, asleep?.protocol] };
  return {
    command: command.length === 0 ? noCommand : command.map(({ value }) => value),
    deliver,
    enter,
    otherBinds: section.value(keys.otherBinds),
    anyNamespace: section.value(keys.anyNamespace),
    environment:
      environment.size === 0
        ? noEnvironment
        : Object.fromEntries([...environment].map(([name, { value }]) => [name, value])),
    inheritEnvironment: section.value(keys.inheritEnvironment),
    umask: section.value(keys.umask),
    limits: limits === defaultLimits ? onlyDefaultLimits : [...new Map([...defaultLimits, ...limits]).values()],
    capabilities: section.value(keys.capabilities),
    noNamespaces: section.value(keys.noNamespaces),
    console,
    lease: section.value(keys.lease),
    start,
    ...readDrain(section, drained, context),
    ...present({
      user: user === undefined || "rangeId" in user ? undefined : withGroup(user, group),
      rangeId: user !== undefined && "rangeId" in user ? user.rangeId : enter ? 0 : undefined,
      directory: section.optional(keys.directory),
      stopAfter: section.optional(keys.stopAfter),
      stopSignal: section.optional(keys.stopSignal),
      stopTimeout: section.optional(keys.stopTimeout),
      watchdog: section.optional(keys.watchdog),
      asleep,
      query,
      sdk: readSdk(section, context),
    }),
  };
}

function hasPort(sockets: readonly SocketSpec[]): boolean {
  return sockets.some(({ listen }) => listen.some(({ address }) => address.family !== "unix"));
}

/** A start on demand needs a command, and only a server that starts on demand may be stopped for lack of traffic. */
function checkStart(
  { table }: Section,
  start: StartMode,
  hasCommand: boolean,
  sockets: readonly SocketSpec[],
  { report }: Context,
): void {
  const { origin } = table.entries.get(keys.start.name) ?? table;
  if (start === "on-demand" && !hasCommand) {
    report(origin, 'server.start is "on-demand", but there is no server.command', 'add command = ["/path/of/program"]');
  }
  const stop = table.entries.get(keys.stopAfter.name);
  if (stop === undefined) return;
  if (start !== "on-demand") {
    const remedy = 'add start = "on-demand", or remove stop-after';
    report(stop.origin, "server.stop-after would stop a server that nothing starts again", remedy);
  }
  // The kernel does not record when a UNIX socket received its last datagram.
  const isUnixDatagram = ({ kind, address }: SocketSpec["listen"][number]): boolean =>
    kind === "datagram" && address.family === "unix";
  if (sockets.length > 0 && sockets.every(({ listen }) => listen.every(isUnixDatagram))) {
    const remedy = "add a socket of another kind, or remove stop-after";
    report(
      stop.origin,
      "server.stop-after cannot see the traffic of unix-dgram sockets, and this berth has no others",
      remedy,
    );
  }
}

/** Another primary group takes the place of the user's own (credentials(7)). The other groups stay. */
function withGroup(user: PasswdEntry, group: number | undefined): PasswdEntry {
  if (group === undefined) return user;
  return { ...user, gid: group, groups: [...new Set(user.groups.map((id) => (id === user.gid ? group : id)))] };
}

function checkGroup(
  { table }: Section,
  user: PasswdEntry | { readonly rangeId: number } | undefined,
  { report }: Context,
): void {
  const written = table.entries.get(keys.group.name);
  if (written === undefined || (user !== undefined && !("rangeId" in user))) return;
  const message = "server.group is the group of a user of the host, and server.user names none";
  report(written.origin, message, 'add user = "NAME", or remove group');
}

/** A server that enters the root has an id of the range, and both need a [root]. */
function checkUser(
  section: Section,
  user: PasswdEntry | { readonly rangeId: number } | undefined,
  enter: boolean,
  hasRoot: boolean,
  { report }: Context,
): void {
  const written = (key: Key<unknown>): Origin => (section.table.entries.get(key.name) ?? section.table).origin;
  const inRange = user !== undefined && "rangeId" in user;
  if (enter && !hasRoot) report(written(keys.enter), "server.enter needs a root, and this berth has none", ADD_ROOT);
  else if (inRange && !hasRoot)
    report(
      written(keys.user),
      "server.user is an id of the berth's range, and a berth without [root] has no range",
      ADD_ROOT,
    );
  if (enter && user !== undefined && !inRange)
    report(
      written(keys.user),
      "server.user is a user of the host, and a server that enters its root has an id of the range",
      'write user = "range", or "range:1000" for another id than 0',
    );
}
