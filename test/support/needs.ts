/**
 * What a test needs beside Node, python3, make and g++. Where that is missing the test is skipped, with the reason:
 * `describe("a layer of owners", needs("root", "strace"), () => …)`.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { TaskMeta } from "vitest";
import { isExecutable } from "../../src/launcher-path.ts";

declare module "vitest" {
  interface TaskMeta {
    /** Why the test is skipped; scripts/results.mjs prints it. */
    needs?: string;
  }
}

/** The outside programs that tests start, and the Debian package of each. .ci/packages installs them all. */
const PACKAGES = {
  "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
  apache2: "apache2-bin",
  busybox: "busybox-static",
  bzfs: "bzflag-server",
  casync: "casync",
  chromium: "chromium",
  chrt: "util-linux",
  conmon: "conmon",
  crun: "crun",
  "dbus-daemon": "dbus",
  debootstrap: "debootstrap",
  dnsmasq: "dnsmasq-base",
  "dpkg-deb": "dpkg",
  dropbear: "dropbear-bin",
  erl: "erlang-base",
  etcd: "etcd-server",
  etcdctl: "etcd-client",
  fish: "fish",
  flock: "util-linux",
  getcap: "libcap2-bin",
  getfattr: "attr",
  gunicorn: "gunicorn",
  haproxy: "haproxy",
  "in.tftpd": "tftpd-hpa",
  ioq3ded: "ioquake3-server",
  initdb: "postgresql-15",
  ip: "iproute2",
  java: "openjdk-17-jdk-headless",
  lighttpd: "lighttpd",
  lsns: "util-linux",
  memcached: "memcached",
  microsocks: "microsocks",
  minetestserver: "minetest-server",
  "mkfs.btrfs": "btrfs-progs",
  mosquitto: "mosquitto",
  murmurd: "mumble-server",
  named: "bind9",
  ncat: "ncat",
  nginx: "nginx-light",
  ngircd: "ngircd",
  nsd: "nsd",
  nsenter: "util-linux",
  prlimit: "util-linux",
  promtool: "prometheus",
  prometheus: "prometheus",
  "prometheus-node-exporter": "prometheus-node-exporter",
  openssl: "openssl",
  podman: "podman",
  postgres: "postgresql-15",
  ps: "procps",
  "qemu-aarch64-static": "qemu-user-static",
  runc: "runc",
  rbldnsd: "rbldnsd",
  "redis-server": "redis-server",
  rsync: "rsync",
  script: "bsdutils",
  setcap: "libcap2-bin",
  setfattr: "attr",
  setpriv: "util-linux",
  setsid: "util-linux",
  socat: "socat",
  ss: "iproute2",
  strace: "strace",
  "systemd-nspawn": "systemd-container",
  "systemd-socket-proxyd": "systemd",
  taskset: "util-linux",
  "teeworlds-server": "teeworlds-server",
  tinyproxy: "tinyproxy-bin",
  tmux: "tmux",
  turnserver: "coturn",
  unbound: "unbound",
  unshare: "util-linux",
  vsftpd: "vsftpd",
  webfsd: "webfs",
  "wesnothd-1.16": "wesnoth-1.16-server",
  zsh: "zsh",
} as const;

export type Program = keyof typeof PACKAGES;

/** Folders that hold such programs and are not in everybody's PATH. .ci/bare names none. */
const FOLDERS =
  process.env["BERTHD_TEST_FOLDERS"] ??
  "/usr/sbin:/sbin:/usr/games:/usr/lib/ioquake3:/usr/lib/systemd:/lib/systemd:/usr/lib/postgresql/15/bin";

export const isRoot: boolean = process.getuid?.() === 0;

export interface Needs {
  readonly skip?: true;
  readonly meta?: Partial<TaskMeta>;
}

/** Options for `test` and `describe`: they skip, and say why, where something is missing. */
export function needs(...wanted: readonly ("root" | Program)[]): Needs {
  const why = missing(...wanted);
  return why === undefined ? {} : { skip: true, meta: { needs: why } };
}

/** What is missing and how to get it; undefined where all is there. */
export function missing(...wanted: readonly ("root" | Program)[]): string | undefined {
  if (wanted.includes("root") && !isRoot) return "needs root: sudo npm test";
  const programs = wanted.filter((one) => one !== "root").filter((one) => find(one) === undefined);
  if (programs.length > 0) {
    const packages = new Set(programs.map((program) => PACKAGES[program]));
    return `needs ${programs.join(", ")}: apt-get install ${[...packages].join(" ")}`;
  }
  return wanted.includes("strace") && !canTrace() ? "needs ptrace(2), which this container forbids" : undefined;
}

/** The program's path. Throws where it is missing: the test has to say that it needs it. */
export function pathOf(program: Program): string {
  const path = find(program);
  if (path === undefined) throw new Error(`there is no ${program}: apt-get install ${PACKAGES[program]}`);
  return path;
}

function find(program: Program): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(":"), ...FOLDERS.split(":")];
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, program))
    .find(isExecutable);
}

let traces: boolean | undefined;

function canTrace(): boolean {
  traces ??= spawnSync("strace", ["-e", "inject=chdir:error=EPERM", "true"], { stdio: "ignore" }).status === 0;
  return traces;
}
