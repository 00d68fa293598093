/** Reads the facts of this machine. It changes nothing, and asks only the broker and systemd. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { systemAccounts } from "../../accounts.ts";
import { connect } from "../../client/connect.ts";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { capabilityNames } from "../../config/keys/kernel-names.ts";
import { loadConfig } from "../../config/load.ts";
import { BerthError, errnoName } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { native, packageRoot } from "../../native.ts";
import type { BrokerFacts, ConfigFacts, Facts } from "./facts.ts";
import { readSystemd } from "./read-systemd.ts";

/** A broker that is stopped answers nothing. */
const ANSWER_TIMEOUT_MS = 5000;
const FIRST_FREE_PORT = 1024;

const SYSCTLS = [
  "kernel.yama.ptrace_scope",
  "user.max_user_namespaces",
  "kernel.unprivileged_userns_clone",
  "kernel.apparmor_restrict_unprivileged_userns",
  "dev.tty.legacy_tiocsti",
  "net.ipv4.ip_unprivileged_port_start",
];

/** `socket` and `config`: as the options of the same names. */
export async function readFacts(socket: string | undefined, config: readonly string[] | undefined): Promise<Facts> {
  const uid = process.geteuid?.() ?? 0;
  const manifest = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
    version: string;
    engines: { node: string };
  };
  const actions = read("/proc/sys/kernel/seccomp/actions_avail");
  return {
    isRoot: uid === 0,
    kernel: release(),
    reportsCalls: actions === undefined ? undefined : actions.split(/\s+/).includes("user_notif"),
    capabilities: boundingSet(),
    sysctls: new Map(
      SYSCTLS.flatMap((name) => {
        const value = read(join("/proc/sys", name.replaceAll(".", "/")));
        return value === undefined ? [] : [[name, value.trim()] as const];
      }),
    ),
    userNamespaceError: namespaceError(uid),
    openFiles: hardLimit(),
    node: process.versions.node,
    version: manifest.version,
    nodeNeeded: manifest.engines.node.replace(/^\D+/, ""),
    broker: await askBroker(socket),
    config: readConfig(config ?? defaultConfigDirectories()),
    systemd: readSystemd(uid),
  };
}

/** CapBnd: what this process and those it starts can have at most (proc_pid_status(5)). */
function boundingSet(): ReadonlySet<string> {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(read("/proc/self/status") ?? "")?.[1] ?? "0"}`);
  return new Set(capabilityNames.filter((_name, bit) => (mask >> BigInt(bit)) & 1n));
}

/** Others than root need a program for it: a process with threads, as Node is, cannot make one (user_namespaces(7)). */
function namespaceError(uid: number): string | undefined {
  if (uid === 0) {
    const made = native.userns(uid, 1, uid);
    if (made < 0) return errnoName(-made);
    FdHandle.adopt(made).close();
    return undefined;
  }
  const { status, stderr } = spawnSync("unshare", ["--user", "--map-root-user", "true"], { encoding: "utf8" });
  // Without unshare(1) nothing is known.
  return status === null || status === 0 ? undefined : stderr.trim().split(": ").at(-1);
}

/** Node has raised the soft limit to it. */
function hardLimit(): number {
  const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(read("/proc/self/limits") ?? "")?.[1];
  return limit === undefined ? Number.MAX_SAFE_INTEGER : Number(limit);
}

async function askBroker(socket: string | undefined): Promise<BrokerFacts> {
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  try {
    using client = await connect({ ...(socket !== undefined && { socket }), signal });
    using reply = await client.call("org.varlink.service.GetInfo", {}, { signal });
    return { answers: true, version: String(reply.parameters["version"]) };
  } catch (error) {
    if (signal.aborted)
      return { answers: false, why: `the broker does not answer within ${ANSWER_TIMEOUT_MS / 1000} s` };
    if (!(error instanceof BerthError)) throw error;
    return { answers: false, why: error.message.replaceAll("\n", "; ") };
  }
}

function readConfig(directories: readonly string[]): ConfigFacts {
  const { specs, problems } = loadConfig({ directories, accounts: systemAccounts(native) });
  const low = specs.flatMap(({ name, sockets }) =>
    sockets.flatMap(({ listen }) =>
      listen.flatMap(({ address }) =>
        "port" in address && address.port > 0 && address.port < FIRST_FREE_PORT
          ? [{ port: address.port, berth: name }]
          : [],
      ),
    ),
  );
  return {
    berths: specs.length,
    problems: problems.length,
    lowestPort: low.sort((one, other) => one.port - other.port)[0],
    hasRoots: specs.some(({ root }) => root !== undefined),
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
