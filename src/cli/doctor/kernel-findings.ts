/** What the kernel and its settings allow. Pure. */
import type { Facts } from "./facts.ts";
import { advice, type Finding, fine, problem } from "./finding.ts";
import { isOlder } from "./version.ts";

const OLDEST_KERNEL = "5.11";
/** From then on a signal does not break a bind that the broker has received, and roots are idmapped at once. */
const GOOD_KERNELS: readonly (readonly [version: string, what: string])[] = [
  ["5.19", "bind delivery is safe from signals"],
  ["6.15", "the kernel maps the owners of an image (idmap)"],
];

/** What a broker of root needs, and what for. */
const CAPABILITIES: Readonly<Record<string, string>> = {
  CAP_NET_BIND_SERVICE: "ports below 1024",
  CAP_NET_ADMIN: "large buffers and marks",
  CAP_NET_RAW: "sockets of one interface",
  CAP_SYS_PTRACE: "bind delivery, and taking sockets back",
  CAP_KILL: "stopping servers of other users",
  CAP_SYS_ADMIN: "roots",
  CAP_SETUID: "servers as other users",
  CAP_SETGID: "servers as other users",
  CAP_CHOWN: "the files of roots, and UNIX sockets of other users",
  CAP_DAC_OVERRIDE: "the files of roots",
};

export function kernelFindings(facts: Facts): Finding[] {
  return [
    kernel(facts),
    seccomp(facts),
    ...capabilities(facts),
    ptrace(facts),
    userNamespaces(facts),
    ...ports(facts),
    ...terminal(facts),
  ];
}

function kernel({ kernel: present }: Facts): Finding {
  const check = "kernel";
  const remedy = "install a newer kernel and reboot; the one that runs: uname -r";
  if (isOlder(present, OLDEST_KERNEL))
    return problem(check, `Linux ${present} is too old: berthd needs ${OLDEST_KERNEL} or newer`, remedy);
  const better = GOOD_KERNELS.find(([version]) => isOlder(present, version));
  if (better === undefined) return fine(check, `Linux ${present}`);
  return advice(check, `Linux ${present} is old: from ${better[0]} on, ${better[1]}`, remedy);
}

function seccomp({ reportsCalls }: Facts): Finding {
  const check = "bind-delivery";
  if (reportsCalls !== false) return fine(check, "the kernel can report binds (seccomp)");
  const message = 'the kernel cannot report binds (CONFIG_SECCOMP_FILTER), so deliver = ["bind"] does not work';
  return problem(check, message, 'use deliver = ["listen-fds"], or another kernel');
}

/** One finding for all that root lacks: it is a container that takes them away. */
function capabilities({ isRoot, capabilities: present }: Facts): Finding[] {
  const check = "capabilities";
  if (!isRoot) return [];
  const missing = Object.entries(CAPABILITIES).filter(([name]) => !present.has(name));
  if (missing.length === 0) return [fine(check, "root has all capabilities that the broker needs")];
  const uses = missing.map(([name, use]) => `${name} (${use})`).join(", ");
  const options = missing.map(([name]) => `--cap-add ${name.slice("CAP_".length)}`).join(" ");
  return [problem(check, `root lacks ${uses}`, `run berthd outside this container, or start it with: ${options}`)];
}

function ptrace({ sysctls, isRoot }: Facts): Finding {
  const check = "ptrace";
  const name = "kernel.yama.ptrace_scope";
  const scope = Number(sysctls.get(name) ?? 0);
  const said = `${name} = ${scope}`;
  if (scope >= 3)
    return problem(
      check,
      `${said} forbids ptrace(2) to everybody until the next boot, so bind delivery does not work`,
      "grep -rs ptrace_scope /etc/sysctl.conf /etc/sysctl.d",
    );
  if (isRoot || scope === 0) return fine(check, `the broker may look into its servers (${said})`);
  if (scope === 2)
    return problem(
      check,
      `${said} allows ptrace(2) to root only, so bind delivery does not work`,
      set(name, "1", false),
    );
  return advice(
    check,
    `${said}: children of a server that bind, and sockets of a broker that was killed, need 0`,
    set(name, "0", false),
  );
}

/** Settings that forbid user namespaces. `forRoot`: to root, too. */
const NAMESPACE_SETTINGS = [
  { name: "user.max_user_namespaces", forbids: "0", allow: "65536", forRoot: true },
  { name: "kernel.unprivileged_userns_clone", forbids: "0", allow: "1", forRoot: false },
  { name: "kernel.apparmor_restrict_unprivileged_userns", forbids: "1", allow: "0", forRoot: false },
] as const;

/** Without them there are no roots. That is a problem only for those who have some. */
function userNamespaces({ sysctls, userNamespaceError: error, isRoot, config }: Facts): Finding {
  const check = "user-namespaces";
  const setting = NAMESPACE_SETTINGS.find(
    ({ name, forbids, forRoot }) => sysctls.get(name) === forbids && (forRoot || !isRoot),
  );
  const found = config.hasRoots ? problem : advice;
  if (setting !== undefined) {
    const message = `${setting.name} = ${setting.forbids} forbids user namespaces, so there are no roots`;
    return found(check, message, set(setting.name, setting.allow, isRoot));
  }
  if (error === undefined) return fine(check, "user namespaces can be made");
  const message = `the kernel makes no user namespace (${error}), so there are no roots`;
  return found(
    check,
    message,
    "run berthd outside of a chroot or container; to see whether it works: unshare --user true",
  );
}

function ports({ sysctls, isRoot, config }: Facts): Finding[] {
  const check = "low-ports";
  const name = "net.ipv4.ip_unprivileged_port_start";
  const start = Number(sysctls.get(name) ?? 1024);
  const { lowestPort } = config;
  if (isRoot || lowestPort === undefined) return [];
  const { port, berth } = lowestPort;
  if (port >= start) return [fine(check, `berth ${berth} may have port ${port} (${name} = ${start})`)];
  const message = `berth ${berth} has port ${port}, and a broker without root may bind ports from ${start} on`;
  return [problem(check, message, set(name, String(port), false))];
}

/** Absent before Linux 6.2, where it cannot be switched off. */
function terminal({ sysctls, isRoot }: Facts): Finding[] {
  const name = "dev.tty.legacy_tiocsti";
  if (sysctls.get(name) !== "1") return [];
  const message = `${name} = 1: a program can type into the terminal that it was started from; servers of berths cannot`;
  return [advice("terminal", message, set(name, "0", isRoot))];
}

function set(name: string, value: string, isRoot: boolean): string {
  return `${isRoot ? "" : "sudo "}sysctl -w ${name}=${value}`;
}
