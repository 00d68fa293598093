/** Makes the plan of a launch from the berth and the call, as a sealed memfd. All policy of a launch is here. */
import { writeSync } from "node:fs";
import type { ServerSpec } from "../../config/keys/spec.ts";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Plan } from "../../launch/plan.ts";
import { encodePlan } from "../../launch/plan-encode.ts";
import type { Native } from "../../native.ts";
import { formatAddress } from "../../net/address.ts";
import { type Expansion, type Expansions, expandPlaceholders, placesDescriptors, ROOT } from "../../placeholder.ts";
import type { RootEntry } from "../../rootfs/roots/root-entry.ts";
import type { Berth } from "../berths/berth/berth.ts";
import { shownName } from "../berths/berth/stash.ts";

/** What a Launch call may request, besides the berth. */
export interface LaunchRequest {
  readonly command?: readonly string[] | undefined;
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

/** A parameter that cannot be used, and why. */
export interface Unfit {
  readonly parameter: "command" | "environment";
  readonly message: string;
}

/** What execvp(3) searches without PATH, except the current folder. */
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";
/** The root's name where no descriptor is for the server: the launcher can only mount it (kRootToMount, plan.h). */
const ROOT_TO_MOUNT = ".root";
/** The first descriptor, as sd_listen_fds(3) defines it. */
const FIRST_FD = 3;
/** Index of the plan's memfd in the reply. The berth's descriptors follow it. */
export const PLAN_INDEX = 0;

// F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE (fcntl(2)): nobody can change what the launcher checked.
const ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8;

/**
 * The plan's bytes for a berth and a lease, or what is wrong with the request. `entry` is what the launcher needs to
 * enter the root; its descriptors follow the berth's. The socket of the console is the last.
 */
export function makePlan(
  berth: Berth,
  lease: string,
  request: LaunchRequest,
  notify?: string,
  entry?: RootEntry,
): Buffer | Unfit {
  const { server } = berth.spec;
  const command = request.command ?? server.command;
  if (command.length === 0) {
    const message = `berth ${berth.name} has no server.command; set it, or give a command: berth run ${berth.name} -- COMMAND`;
    return { parameter: "command", message };
  }
  const expansions = expansionsOf(berth);
  const argv: string[] = [];
  for (const word of command) {
    const expanded = expandPlaceholders(word, expansions);
    if (typeof expanded === "object") return { parameter: "command", message: expanded.problem };
    argv.push(expanded);
  }
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(environmentOf(berth, lease, request))) {
    const expanded = expandPlaceholders(value, expansions);
    if (typeof expanded === "object") return { parameter: "environment", message: `${name}: ${expanded.problem}` };
    environment[name] = expanded;
  }
  const names = [
    ...berth.sockets.map(({ name }) => name),
    ...(berth.hasRoot ? [ROOT] : []),
    ...Array.from(berth.stash.keys(), shownName),
  ];
  const fds = names
    .map((name, index) => ({ name, index: PLAN_INDEX + 1 + index }))
    // A server inside the root needs no descriptor of it.
    .filter((_, index) => !(server.enter && index === berth.sockets.length));
  const user = userOf(berth);
  const plan: Plan = {
    lease,
    argv,
    environment,
    inheritEnvironment: server.inheritEnvironment,
    listenFds: server.deliver.includes("listen-fds"),
    reportBinds: server.deliver.includes("bind"),
    noNamespaces: server.noNamespaces,
    // A broker without root can inspect only processes that allow it, where Yama is on. Root can inspect all.
    ...(process.geteuid?.() !== 0 && { tracer: process.pid }),
    fds: placesDescriptors(server.deliver) ? fds : rootToMount(berth),
    capabilities: server.capabilities,
    limits: server.limits,
    umask: server.umask,
    ...(user !== undefined && { user }),
    ...(server.directory !== undefined && { directory: server.directory }),
    ...(notify !== undefined && { notify: { address: notify, watchdog: (server.watchdog ?? 0) * 1_000_000 } }),
    ...(entry !== undefined && { root: planRoot(berth, entry) }),
    ...(server.console && {
      console: PLAN_INDEX + 1 + berth.size + (entry === undefined ? 0 : 1 + entry.mounts.length),
    }),
  };
  const bytes = encodePlan(plan);
  return typeof bytes === "string"
    ? { parameter: request.command === undefined ? "environment" : "command", message: bytes }
    : bytes;
}

/** A memfd with the plan, which nobody can change. Throws SYSTEM_ERROR when no descriptor is left. */
export function sealPlan(bytes: Buffer, sys: Native): FdHandle {
  const memfd = FdHandle.adopt(check("memfd_create", sys.memfd("berth-plan")), sys);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(memfd.fd, bytes, at);
    check("fcntl F_ADD_SEALS", sys.addSeals(memfd.fd, ALL_SEALS));
    return memfd;
  } catch (error) {
    memfd.close();
    throw error;
  }
}

/** The ids to run as: those of the host, or for a server that enters its root, those inside. */
function userOf({ spec: { server }, range }: Berth): Plan["user"] {
  if (server.rangeId === undefined) return server.user;
  const id = server.enter ? server.rangeId : (range?.base ?? 0) + server.rangeId;
  return { uid: id, gid: id, groups: [] };
}

function planRoot(berth: Berth, { mounts, binds, isRootless }: RootEntry): NonNullable<Plan["root"]> {
  const userns = PLAN_INDEX + 1 + berth.size;
  return {
    userns,
    mount: PLAN_INDEX + 1 + berth.sockets.length,
    keepGroups: isRootless,
    mounts: mounts.map(({ target }, at) => ({ index: userns + 1 + at, target })),
    binds,
  };
}

/** The variables that shells expect. A user of the range exists only in the image. */
function homeOf({ rangeId, user }: ServerSpec): Record<string, string> {
  if (user !== undefined) return { HOME: user.home, SHELL: user.shell, USER: user.name, LOGNAME: user.name };
  if (rangeId === undefined) return {};
  const name = rangeId === 0 ? "root" : String(rangeId);
  return { HOME: rangeId === 0 ? "/root" : "/", SHELL: "/bin/sh", USER: name, LOGNAME: name };
}

function environmentOf(berth: Berth, lease: string, request: LaunchRequest): Record<string, string> {
  const { environment, inheritEnvironment } = berth.spec.server;
  return {
    ...(!inheritEnvironment && { PATH: DEFAULT_PATH }),
    ...homeOf(berth.spec.server),
    BERTHD_BERTH: berth.name,
    BERTHD_LEASE: lease,
    ...sdkVariables(berth.spec.server),
    ...environment,
    ...request.environment,
  };
}

/** Where the server finds its SDK (agones.dev, Client SDKs). */
function sdkVariables({ sdk }: ServerSpec): Record<string, string> {
  if (sdk === undefined) return {};
  return { AGONES_SDK_GRPC_PORT: String(sdk.grpcPort), AGONES_SDK_HTTP_PORT: String(sdk.httpPort) };
}

function expansionsOf(berth: Berth): Expansions {
  const placed = placesDescriptors(berth.spec.server.deliver);
  const byName = new Map<string, Expansion[]>();
  berth.sockets.forEach(({ name, socket }, index) => {
    const { address } = socket;
    const list = byName.get(name) ?? [];
    list.push({
      ...(placed && { fd: FIRST_FD + index }),
      address: formatAddress(address),
      ...(address.family !== "unix" && { port: address.port }),
    });
    byName.set(name, list);
  });
  const rootFd = FIRST_FD + berth.sockets.length;
  return {
    sockets: (name) => byName.get(name),
    ...(berth.hasRoot &&
      placed &&
      !berth.spec.server.enter && { root: { fd: rootFd, path: `/proc/self/fd/${rootFd}` } }),
  };
}

/** For `--contain` on a berth that delivers by bind alone. */
function rootToMount({ hasRoot, spec, sockets }: Berth): Plan["fds"] {
  return hasRoot && !spec.server.enter ? [{ name: ROOT_TO_MOUNT, index: PLAN_INDEX + 1 + sockets.length }] : [];
}
