/**
 * podman for tests: images, containers and settings in a folder of the test's own. Needs root and what {@link PODMAN}
 * names, also where it then runs as another user. It works on machines whose control groups are hybrid, and where root
 * has no CAP_SYS_RESOURCE.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { TestFolder } from "./broker.ts";
import { withOneCgroupVersion } from "./cgroups.ts";
import { pathOf } from "./needs.ts";

export const PODMAN = ["root", "podman", "conmon", "crun", "runc", "unshare"] as const;

/** Seconds after which conmon ends a container, also when the test is killed. */
const LONGEST = 120;

// podman's own limits (RLIMIT_NOFILE and RLIMIT_NPROC of 1,048,576) are above what this root may set.
const SETTINGS = `[containers]
default_ulimits = []
`;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A new file, open for writing. */
class File implements Disposable {
  readonly fd: number;

  constructor(path: string) {
    this.fd = openSync(path, "w");
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

export class Podman implements AsyncDisposable {
  readonly #folder: string;
  readonly #user: number | undefined;

  /** With the folder of a container's files, whose program is `/server`. `user`: who runs podman, if not root. */
  constructor(folder: TestFolder, program: string, user?: number) {
    this.#folder = join(folder.path, "podman");
    this.#user = user;
    for (const name of ["proc", "dev", "sys", "run", "tmp", "etc"])
      mkdirSync(join(this.rootfs, name), { recursive: true });
    copyFileSync(program, join(this.rootfs, "server"));
    chmodSync(join(this.rootfs, "server"), 0o755);
    writeFileSync(join(this.#folder, "containers.conf"), SETTINGS);
    if (user === undefined) return;
    mkdirSync(join(this.#folder, "runtime"), { mode: 0o700 });
    execFileSync("chown", ["-R", `${user}:${user}`, this.#folder]);
  }

  /** The files of a container. */
  get rootfs(): string {
    return join(this.#folder, "rootfs");
  }

  /** What podman finds its settings by. */
  get environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      HOME: this.#folder,
      CONTAINERS_CONF: join(this.#folder, "containers.conf"),
      ...(this.#user === undefined ? {} : { XDG_RUNTIME_DIR: join(this.#folder, "runtime") }),
    };
  }

  /** podman, as the start of a command line. */
  get command(): readonly string[] {
    const folder = (name: string): string => join(this.#folder, name);
    const user = this.#user;
    return [
      ...withOneCgroupVersion(),
      ...(user === undefined ? [] : [pathOf("setpriv"), `--reuid=${user}`, `--regid=${user}`, "--clear-groups"]),
      pathOf("podman"),
      ...["--root", folder("root"), "--runroot", folder("run"), "--tmpdir", folder("tmp")],
      ...["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"],
    ];
  }

  /** Runs a command of podman to its end. Its output goes to files, for the monitor of a container keeps it open. */
  async run(args: readonly string[], input: Uint8Array = new Uint8Array()): Promise<Ended> {
    const [command = "", ...all] = [...this.command, ...args];
    const [out, err] = [join(this.#folder, "stdout"), join(this.#folder, "stderr")];
    using stdout = new File(out);
    using stderr = new File(err);
    const child = spawn(command, all, { env: this.environment, stdio: ["pipe", stdout.fd, stderr.fd] });
    child.stdin?.end(input);
    await once(child, "exit");
    return { code: child.exitCode, stdout: readFileSync(out, "utf8"), stderr: readFileSync(err, "utf8") };
  }

  /** Runs a command that must succeed. Returns what it prints, without the last line end. */
  async ok(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    if (code !== 0) throw new Error(`podman ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
    return stdout.trimEnd();
  }

  /** Starts a container in the background, as `podman run`. It is removed with this object. */
  async start(name: string, ...args: readonly string[]): Promise<void> {
    await this.ok(...["run", "--detach", "--name", name, "--log-driver", "none"], `--timeout=${LONGEST}`, ...args);
  }

  /** A fact of a container, such as `State.Pid`. */
  inspect(name: string, fact: string): Promise<string> {
    return this.ok("inspect", "--format", `{{.${fact}}}`, name);
  }

  /** The container's first process. */
  async pidOf(name: string): Promise<number> {
    return Number(await this.inspect(name, "State.Pid"));
  }

  /** The container's monitor, conmon: the parent of its first process. */
  async monitorOf(name: string): Promise<number> {
    return Number(readFileSync(await this.inspect(name, "ConmonPidFile"), "utf8"));
  }

  /** Ends and removes containers. Without its monitor, one of runc is only stopped by the first try. */
  async remove(which: string): Promise<void> {
    const args = ["rm", "--force", "--time", "0", which];
    if ((await this.run(args)).code !== 0) await this.ok(...args);
  }

  /**
   * Removes all containers, and waits until no process uses the folder. A monitor starts `podman container cleanup`
   * when its container has ended; that writes into the folder, also after the container was removed.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove("--all");
    // It leaves a process that keeps its namespaces.
    if (this.#user !== undefined) await this.ok("system", "migrate");
    await expect.poll(() => processesNaming(this.#folder), { timeout: 30_000 }).toEqual([]);
  }
}

/** The command lines of processes that name a folder: podman's own and its monitors' do. */
function processesNaming(folder: string): string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(commandLineOf)
    .filter((line) => line.includes(folder));
}

/** A process's command line, empty for one that has ended: proc_pid_cmdline(5). */
function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
