/**
 * Writes a {@link Plan} as the bytes that berth-launch reads; native/launch/plan.h documents the format. Pure: the
 * caller puts the bytes into a memfd, seals it against all change, and sends it as fd 0 of the reply.
 */
import { MAX_ID } from "../accounts.ts";
import { isListenFdName } from "./listen-fds.ts";
import type { Plan, Rlimit } from "./plan.ts";

const MAGIC = "berthpln";
const VERSION = 1;
const HEADER_LENGTH = 16;

/** The longest plan the launcher reads, in bytes. */
const PLAN_MAX: number = 4 << 20;

const Tag = {
  lease: 1,
  flags: 2,
  umask: 3,
  capabilities: 4,
  argument: 5,
  environment: 6,
  descriptor: 7,
  limit: 8,
  user: 9,
  directory: 10,
  tracer: 11,
  root: 12,
  mount: 13,
  bind: 14,
  notify: 15,
  console: 16,
} as const;

const INHERIT_ENVIRONMENT = 1;
const LISTEN_FDS = 2;
const REPORT_BINDS = 4;
const NO_NAMESPACES = 8;
const KEEP_GROUPS = 1;
const READ_ONLY = 1;

const UNLIMITED = 0xffff_ffff_ffff_ffffn;
const KEEP = UNLIMITED - 1n;

/**
 * Returns the plan's bytes, or a sentence that names what cannot be encoded. A client's command or environment can
 * cause that (a NUL in an argument), so it is a refusal and not a defect.
 */
export function encodePlan(plan: Plan): Buffer | string {
  const problem = findProblem(plan);
  if (problem !== undefined) return problem;
  const flags =
    (plan.inheritEnvironment ? INHERIT_ENVIRONMENT : 0) |
    (plan.listenFds ? LISTEN_FDS : 0) |
    (plan.reportBinds ? REPORT_BINDS : 0) |
    (plan.noNamespaces ? NO_NAMESPACES : 0);
  const kept = plan.capabilities.reduce((mask, capability) => mask | (1n << BigInt(capability)), 0n);
  const records: Buffer[] = [
    ...record(Tag.lease, text(plan.lease)),
    ...record(Tag.flags, u32(flags)),
    ...record(Tag.umask, u32(plan.umask)),
    ...record(Tag.capabilities, u64(kept)),
    ...plan.argv.flatMap((argument) => record(Tag.argument, text(argument))),
    ...Object.entries(plan.environment).flatMap(([name, value]) => record(Tag.environment, text(`${name}=${value}`))),
    ...plan.fds.flatMap(({ name, index }) => record(Tag.descriptor, u32(index), text(name))),
    ...plan.limits.flatMap(({ resource, soft, hard }) => record(Tag.limit, limit(soft), limit(hard), text(resource))),
  ];
  if (plan.user !== undefined) {
    const { uid, gid, groups } = plan.user;
    records.push(...record(Tag.user, ...[uid, gid, ...groups].map(u32)));
  }
  if (plan.directory !== undefined) records.push(...record(Tag.directory, text(plan.directory)));
  if (plan.tracer !== undefined) records.push(...record(Tag.tracer, u32(plan.tracer)));
  if (plan.root !== undefined) {
    const { userns, mount, keepGroups, mounts, binds } = plan.root;
    records.push(...record(Tag.root, u32(userns), u32(mount), u32(keepGroups ? KEEP_GROUPS : 0)));
    for (const { index, target } of mounts) records.push(...record(Tag.mount, u32(index), text(target)));
    for (const { source, target, readOnly } of binds)
      records.push(...record(Tag.bind, u32(readOnly ? READ_ONLY : 0), text(source), text(target)));
  }
  if (plan.notify !== undefined) {
    const { address, watchdog } = plan.notify;
    records.push(...record(Tag.notify, u64(BigInt(watchdog)), text(address)));
  }
  if (plan.console !== undefined) records.push(...record(Tag.console, u32(plan.console)));

  const length = records.reduce((sum, part) => sum + part.length, HEADER_LENGTH);
  if (length > PLAN_MAX) return `the command and environment take ${length} bytes, more than ${PLAN_MAX}; shorten them`;
  return Buffer.concat([Buffer.from(MAGIC), u32(VERSION), u32(length), ...records], length);
}

function findProblem(plan: Plan): string | undefined {
  if (plan.argv.length === 0) return "there is no command to run; give one, or set server.command of the berth";
  if (plan.argv.some(hasNul)) return "an argument of the command contains a NUL character, which exec cannot pass";
  for (const [name, value] of Object.entries(plan.environment)) {
    if (name === "" || name.includes("=") || hasNul(name))
      return `an environment variable cannot be called ${JSON.stringify(name)}`;
    if (hasNul(value)) return `the environment variable ${name} contains a NUL character, which exec cannot pass`;
  }
  for (const { name } of plan.fds) {
    if (!isListenFdName(name))
      return `a descriptor cannot be called ${JSON.stringify(name)}: at most 255 ASCII characters, no ":"`;
  }
  const path = pathsOf(plan).find((text) => !text.startsWith("/") || hasNul(text));
  if (path !== undefined) return `nothing can be mounted from or at ${JSON.stringify(path)}, which is no absolute path`;
  const indices = indicesOf(plan);
  const index = indices.find((number) => !isWithin(number, 1, 252));
  if (index !== undefined) return `a descriptor has the index ${index}, which is not from 1 to 252`;
  if (new Set(indices).size < indices.length) return "two descriptors have the same index";
  const capability = plan.capabilities.find((number) => !isWithin(number, 0, 63));
  if (capability !== undefined) return `${capability} is not the number of a capability`;
  for (const { resource, soft, hard } of plan.limits) {
    if (hasNul(resource) || !isLimit(soft) || !isLimit(hard)) {
      return `the limit ${JSON.stringify(resource)} of ${soft} and ${hard} is not whole numbers from 0 up`;
    }
  }
  const ids = plan.user === undefined ? [] : [plan.user.uid, plan.user.gid, ...plan.user.groups];
  const id = ids.find((number) => !isWithin(number, 0, MAX_ID));
  if (id !== undefined) return `${id} is not a user or group id`;
  if (plan.tracer !== undefined && !isWithin(plan.tracer, 1, 2 ** 22)) return `${plan.tracer} is not a process id`;
  if (!isWithin(plan.umask, 0, 0o777)) return `the umask ${plan.umask} is not from 0 to 0777`;
  if (plan.directory !== undefined && (!plan.directory.startsWith("/") || hasNul(plan.directory))) {
    return `the directory ${JSON.stringify(plan.directory)} is not an absolute path`;
  }
  if (plan.notify !== undefined && (!/^[/@]./s.test(plan.notify.address) || hasNul(plan.notify.address))) {
    return `${JSON.stringify(plan.notify.address)} is not the address of a UNIX socket`;
  }
  if (plan.notify !== undefined && !isWithin(plan.notify.watchdog, 0, Number.MAX_SAFE_INTEGER)) {
    return `${plan.notify.watchdog} is not a number of microseconds`;
  }
  return hasNul(plan.lease) ? "the lease's id contains a NUL character" : undefined;
}

/** All descriptors that the plan names: each has one use. */
function indicesOf({ fds, root, console }: Plan): number[] {
  const entered = root === undefined ? [] : [root.userns, root.mount, ...root.mounts.map(({ index }) => index)];
  return [...fds.map(({ index }) => index), ...entered, ...(console === undefined ? [] : [console])];
}

function pathsOf({ root }: Plan): string[] {
  if (root === undefined) return [];
  return [...root.mounts.map(({ target }) => target), ...root.binds.flatMap(({ source, target }) => [source, target])];
}

function hasNul(value: string): boolean {
  return value.includes("\0");
}

function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

function isLimit(value: Rlimit["hard"]): boolean {
  return typeof value === "string" || isWithin(value, 0, Number.MAX_SAFE_INTEGER);
}

function record(tag: number, ...payload: readonly Buffer[]): Buffer[] {
  return [u32(tag), u32(payload.reduce((sum, part) => sum + part.length, 0)), ...payload];
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function limit(value: Rlimit["hard"]): Buffer {
  return u64(value === "unlimited" ? UNLIMITED : value === "keep" ? KEEP : BigInt(value));
}
