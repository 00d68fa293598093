/**
 * A booted systemd for tests, in systemd-nspawn: this host's own files below a throw-away layer, a network of its own
 * with nothing but a loopback, all capabilities, and berthd as `npm install --global` puts it. One boot (about three
 * seconds) serves a whole test file. It changes nothing on the host: its mounts are in a namespace that ends with its
 * last process, its processes end with the test's, and its cgroup is removed with it or by the next one.
 *
 * What depends on the host: where its cgroup v1 holds the memory controller, the machine has none, and MemoryMax= is
 * set there but not enforced.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { packageRoot } from "../../src/native.ts";
import { temporaryFolder } from "./folders.ts";
import { endCgroup, makeCgroup } from "./machine-cgroup.ts";

/** What a booted machine needs, for {@link needs}. */
export const MACHINE = [
  "root",
  "systemd-nspawn",
  "setpriv",
  "unshare",
  "nsenter",
  "ps",
  "ip",
  "ss",
  "dbus-daemon",
] as const;

/** The package inside, as npm installs it for everybody; `berthd` and `berth` are in /usr/local/bin. */
export const PACKAGE = "/usr/local/lib/node_modules/berthd";
/** The running Node, inside. */
export const NODE = "/usr/local/bin/node";

const BOOT_TIMEOUT = 60_000;
const COMMAND_TIMEOUT = 60_000;

export interface MachineOptions {
  /** Files inside, by absolute path, written before it boots. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** A tree of another system, with a systemd in it, to boot instead of the host's own files. */
  readonly tree?: string;
  /** Whether berthd and this Node are installed, as npm does it. Default: true. */
  readonly installed?: boolean;
  /** Folders or files of the host to see inside, read-only: absolute path inside to path on the host. */
  readonly binds?: Readonly<Record<string, string>>;
}

export interface CommandOptions {
  /** Standard input; none unless given. */
  readonly input?: string;
  /** Milliseconds until it is killed and the call fails. Default: a minute. */
  readonly timeout?: number;
}

export interface Result {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

/** Boots a machine and waits until systemd has started everything. */
export async function bootMachine(options: MachineOptions = {}): Promise<Machine> {
  const machine = new Machine(options);
  try {
    await machine.booted();
    return machine;
  } catch (error) {
    await machine[Symbol.asyncDispose]();
    throw error;
  }
}

export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly #cgroup: string;
  readonly #nspawn: ChildProcess;
  readonly #ended: Promise<unknown>;
  #leader: number | undefined;

  /** Use {@link bootMachine}. */
  constructor({ files = {}, binds = {}, tree, installed = true }: MachineOptions) {
    // Gone as soon as the machine has it.
    const folder = temporaryFolder("berthd-machine-");
    chmodSync(folder, 0o755);
    for (const [path, content] of Object.entries(files)) writeInto(folder, path, content);
    this.name = basename(folder);
    this.#cgroup = makeCgroup(this.name);
    const npm = installed ? { [PACKAGE]: packageRoot, [NODE]: process.execPath } : {};
    const bound = Object.entries({ ...npm, ...binds });
    const [command = "", ...args] = [
      // Its processes end with the test, however that ends; what it mounts goes with its mount namespace. A PID
      // namespace around nspawn's own, because nspawn can be killed without what it contains.
      ...["setpriv", "--pdeathsig", "KILL", "--"],
      ...["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private", "--"],
      ...[
        "sh",
        "-euc",
        SETUP,
        "sh",
        folder,
        this.#cgroup,
        tree ?? "",
        tree === undefined ? hostMounts().join(" ") : "",
        installed ? "berthd berth" : "",
      ],
      ...["systemd-nspawn", "--quiet", `--machine=${this.name}`],
      ...["--register=no", "--keep-unit", "--capability=all", "--private-network", "--console=pipe"],
      // Its usual filter has no pidfd_getfd(2), for example.
      "--system-call-filter=@known",
      // Images and roots: an overlay, which / is here, takes no idmap, a tmpfs does.
      ...(installed ? ["--tmpfs=/var/lib/berthd"] : []),
      ...bound.map(([inside, outside]) => `--bind-ro=${escapeBind(outside)}:${escapeBind(inside)}`),
      ...["--link-journal=no", "--boot"],
    ];
    this.#nspawn = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#ended = once(this.#nspawn, "close");
    for (const stream of [this.#nspawn.stdout, this.#nspawn.stderr]) {
      stream?.on("data", (data: Buffer) => {
        this.#console = (this.#console + data.toString()).slice(-20_000);
      });
    }
  }

  /** The last of what it wrote to its console, nspawn's own complaints included. */
  #console = "";

  /** The pid of its systemd. */
  get leader(): number {
    if (this.#leader === undefined) throw new Error(`the machine ${this.name} does not run:\n${this.#console}`);
    return this.#leader;
  }

  /** Its `/`, seen from the host: for reading and writing files directly. */
  get root(): string {
    return `/proc/${this.leader}/root`;
  }

  /** Resolves when everything was started. */
  async booted(): Promise<void> {
    await this.waitFor(
      "the machine to boot",
      async () => {
        if (this.#nspawn.exitCode !== null) throw new Error(`systemd-nspawn ended:\n${this.#console}`);
        this.#leader ??= this.#findLeader();
        if (this.#leader === undefined) return false;
        const { stdout } = await this.run(["systemctl", "is-system-running"]);
        return /^(running|degraded)/.test(stdout);
      },
      BOOT_TIMEOUT,
    );
  }

  /** Runs a command inside as root, outside of any unit, to its end. */
  async run(command: readonly string[], { input, timeout = COMMAND_TIMEOUT }: CommandOptions = {}): Promise<Result> {
    const child = this.spawn(command, input === undefined ? "ignore" : "pipe");
    const timer = AbortSignal.timeout(timeout);
    const expire = (): void => {
      // Its child, the command itself, may be too young to have asked to end with it.
      for (const pid of childrenOf(child.pid ?? 0)) tryKill(pid);
      child.kill("SIGKILL");
      child.stdout?.destroy();
      child.stderr?.destroy();
    };
    timer.addEventListener("abort", expire);
    if (input !== undefined) child.stdin?.end(input);
    let [out, err] = ["", ""];
    child.stdout?.setEncoding("utf8").on("data", (part: string) => (out += part));
    child.stderr?.setEncoding("utf8").on("data", (part: string) => (err += part));
    try {
      await once(child, "close");
      if (timer.aborted) {
        throw new Error(`${command.join(" ")} did not end within ${timeout} ms:\n${out}${err}${await this.#last()}`);
      }
      return { stdout: out, stderr: err, code: child.exitCode ?? 128 };
    } finally {
      timer.removeEventListener("abort", expire);
    }
  }

  /** Runs a command that must succeed; its stdout. What it said and the journal are in the error if it does not. */
  async ok(command: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { stdout, stderr, code } = await this.run(command, options);
    if (code === 0) return stdout;
    throw new Error(`${command.join(" ")} ended with ${code}:\n${stdout}${stderr}${await this.#last()}`);
  }

  /** Runs a shell script that must succeed, as {@link ok}. */
  sh(script: string, options: CommandOptions = {}): Promise<string> {
    return this.ok(["bash", "-euo", "pipefail", "-c", script], options);
  }

  /** Starts a command inside that the test talks to; it ends with the test, or when the test kills it. */
  spawn(command: readonly string[], stdin: "ignore" | "pipe" = "pipe"): ChildProcess {
    const env = {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: "/root",
      LANG: "C.UTF-8",
    };
    const [program = "", ...args] = [...this.inside, ...command];
    return spawn(program, args, { stdio: [stdin, "pipe", "pipe"], env });
  }

  /** What makes a command run inside, in front of its command line. */
  get inside(): readonly string[] {
    const enter = ["nsenter", "--target", String(this.leader), "--all", "--wdns=/", "--"];
    // The child within the machine's PID namespace is nsenter's own: it must not outlive it.
    return [...enter, "setpriv", "--pdeathsig", "KILL", "--"];
  }

  /** Writes files by absolute path inside, folders above them included. */
  write(files: Readonly<Record<string, string | Uint8Array>>): void {
    for (const [path, content] of Object.entries(files)) writeInto(this.root, path, content);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), "utf8");
  }

  /**
   * Asks again and again until the answer is neither false nor undefined; what was awaited and the journal if never.
   */
  async waitFor<T>(
    what: string,
    holds: () => Promise<T> | T,
    timeout = 60_000,
  ): Promise<Exclude<T, false | undefined>> {
    const deadline = performance.now() + timeout;
    for (let pause = 10; ; pause = Math.min(pause * 2, 100)) {
      const found = await holds();
      if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
      if (performance.now() > deadline) {
        throw new Error(`waited ${timeout} ms in vain for ${what}\n${await this.#last()}`);
      }
      await setTimeout(pause);
    }
  }

  /** The journal as people read it: all of it, or that of one unit, with what was written until now. */
  async journal(unit?: string): Promise<string> {
    await this.journalIsWhole();
    return await this.ok([
      "journalctl",
      "--no-pager",
      "--quiet",
      "-o",
      "short-monotonic",
      ...(unit ? ["-u", unit] : []),
    ]);
  }

  /**
   * Resolves when journald has stored what was written until now: it reads what services print later than they print.
   */
  async journalIsWhole(): Promise<void> {
    await this.ok(["journalctl", "--sync"]);
  }

  /** Properties of a unit, as `systemctl show` names them. */
  async show(unit: string, ...names: readonly string[]): Promise<Record<string, string>> {
    const lines = await this.ok(["systemctl", "show", unit, ...names.flatMap((name) => ["--property", name])]);
    return Object.fromEntries(
      lines
        .trimEnd()
        .split("\n")
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#nspawn.kill("SIGKILL");
    await this.#ended;
    await endCgroup(this.#cgroup);
  }

  /** What helps to understand a failure. */
  async #last(): Promise<string> {
    if (this.#leader === undefined) return `\nconsole of ${this.name}:\n${this.#console}`;
    try {
      const child = this.spawn(["journalctl", "--no-pager", "-o", "short-monotonic", "-n", "80"], "ignore");
      const timer = global.setTimeout(() => child.kill("SIGKILL"), 10_000);
      const [out] = await Promise.all([child.stdout === null ? "" : text(child.stdout), once(child, "close")]);
      clearTimeout(timer);
      return `\njournal of ${this.name}:\n${out}`;
    } catch (error) {
      return `\nno journal of ${this.name}: ${error}`;
    }
  }

  /** The first process of the PID namespace that nspawn has made, once it is systemd. */
  #findLeader(): number | undefined {
    try {
      const [nspawn = 0] = childrenOf(this.#nspawn.pid ?? 0);
      return childrenOf(nspawn).find((pid) => {
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        return /^Name:\tsystemd$/m.test(status) && /^NSpid:\t\d+\t\d+\t1$/m.test(status);
      });
    } catch {
      return undefined; // not yet
    }
  }
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return children === "" ? [] : children.split(" ").map(Number);
  } catch {
    return []; // it has ended
  }
}

/**
 * Run as `sh -euc SETUP sh FILES CGROUP TREE "MOUNTS" "PROGRAMS" nspawn…` in a mount namespace of its own: a layer in
 * memory over the TREE, or over the host's files and each of the MOUNTS that they consist of, of the host's cgroups
 * only version 2, and an empty /run, which holds all that and nspawn's own.
 */
const SETUP = `
files=$1 cgroup=$2 tree=$3 mounts=$4 programs=$5; shift 5
echo 0 >"$cgroup/cgroup.procs"
# What tests that run beside this one have mounted in their folders would be busy as long as the machine runs.
while read -r _ _ _ _ point _; do
  case $point in \${TMPDIR:-/tmp}/berth*) umount -l "$point" || true ;; esac
done </proc/self/mountinfo
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
root=/run/machine/root
mkdir -p "$root"
layers=0
for point in / $mounts; do
  layers=$((layers + 1))
  upper=/run/machine/upper$layers work=/run/machine/work$layers
  mkdir "$upper" "$work"
  mount -t overlay -o "lowerdir=$tree$point,upperdir=$upper,workdir=$work" overlay "$root$point"
done
# What the host's operator enabled or changed is not wanted, only what packages bring.
rm -rf "$root/etc/systemd/system" "$root/etc/fstab" "$root/etc/berthd" "$root/etc/machine-id"
mkdir -p "$root/etc/systemd/system" "$root/usr/local/bin"
touch "$root/etc/machine-id"
for program in $programs; do
  # npm would link them; those of a build in the repository cannot be executed.
  case $program in berth) main=dist/berth/berth.cjs ;; *) main=dist/cli/$program.js ;; esac
  printf '#!/bin/sh\\nexec ${NODE} ${PACKAGE}/%s "$@"\\n' $main >"$root/usr/local/bin/$program"
  chmod 755 "$root/usr/local/bin/$program"
done
cp -a "$files/." "$root"
rm -r "$files"
exec "$@" --directory="$root"
`;

/** Mounts that the host's file tree consists of, which a layer over `/` alone does not show. */
function hostMounts(): string[] {
  const rows = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  const points = rows.map((row) => row.split(" ")[4] ?? "");
  return points.filter((point) => /^\/(usr|etc|opt|var|lib)(\/|$)/.test(point) && statSync(point).isDirectory());
}

function writeInto(root: string, path: string, content: string | Uint8Array): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

/** nspawn takes a colon in a path for the end of it. */
function escapeBind(path: string): string {
  return path.replace(/[\\:]/g, "\\$&");
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
