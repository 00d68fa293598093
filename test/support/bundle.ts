/** Containers of runc or crun whose image is one program, made from local files. Needs root and the runtime. */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Server } from "../bind/harness.ts";
import type { TestFolder } from "./broker.ts";
import { withOneCgroupVersion } from "./cgroups.ts";
import { pathOf } from "./needs.ts";
import { endsWithTest } from "./wrap.ts";

/** A JSON object that a test changes. */
export type Json = { [key: string]: unknown };

/** The capabilities that container managers give to a program by default, as far as these tests need them. */
const CAPABILITIES = ["CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_AUDIT_WRITE"];

/** The `linux.seccomp` of a container whose binds are told to an agent. */
export function seccompFor(agent: string, berth: string): Json {
  return {
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: agent,
    listenerMetadata: berth,
    syscalls: [{ names: ["bind"], action: "SCMP_ACT_NOTIFY" }],
  };
}

/** A container in the foreground. What it has of its output is open for as long as it lives. */
export class Container extends Server {
  readonly #remove: () => void;

  constructor(command: string, args: readonly string[], remove: () => void) {
    super(command, args);
    this.#remove = remove;
  }

  override async kill(): Promise<void> {
    this.#remove();
    await this.ended();
  }
}

export class Bundle {
  readonly #folder: string;
  readonly #state: string;
  /** The runtime, as the start of a command line. */
  readonly #runtime: readonly [string, ...string[]];

  /** A bundle in a folder, whose program is `/server`. */
  constructor(
    folder: TestFolder,
    program: string,
    seccomp: Json,
    args: readonly string[],
    runtime: "runc" | "crun" = "runc",
  ) {
    this.#folder = join(folder.path, "bundle");
    const [first = pathOf(runtime), ...rest] = runtime === "crun" ? [...withOneCgroupVersion(), pathOf(runtime)] : [];
    this.#state = join(folder.path, "runtime");
    this.#runtime = [first, ...rest, "--root", this.#state];
    const root = join(this.#folder, "rootfs");
    mkdirSync(join(root, "proc"), { recursive: true });
    copyFileSync(program, join(root, "server"));
    chmodSync(join(root, "server"), 0o755);
    const sets = ["bounding", "effective", "permitted"].map((set) => [set, CAPABILITIES]);
    const config: Json = {
      ociVersion: "1.0.2",
      process: {
        user: { uid: 0, gid: 0 },
        args: ["/server", ...args],
        cwd: "/",
        noNewPrivileges: true,
        capabilities: Object.fromEntries(sets),
      },
      root: { path: "rootfs", readonly: true },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      ],
      linux: {
        namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
        seccomp,
      },
    };
    this.write(config);
  }

  write(config: Json): void {
    writeFileSync(this.config, JSON.stringify(config));
  }

  /** Where the configuration stands. */
  get config(): string {
    return join(this.#folder, "config.json");
  }

  /** The folder with its program. */
  get rootfs(): string {
    return join(this.#folder, "rootfs");
  }

  /** Runs it in the foreground of a process of the runtime, which this command starts. It ends with the object. */
  run(id: string, starter: readonly string[] = []): Container {
    const [command = "", ...args] = [...endsWithTest, ...starter, ...this.#runtime, "run", "-b", this.#folder, id];
    return new Container(command, args, () => this.remove(id));
  }

  /** Starts a command in a container that runs, in the foreground of a process of the runtime. */
  exec(id: string, ...command: readonly string[]): Server {
    const [first = "", ...args] = [...endsWithTest, ...this.#runtime, "exec", id, ...command];
    return new Server(first, args);
  }

  /** A command of the runtime, such as `kill`. Returns what it prints. */
  runtime(...args: readonly string[]): string {
    const [command, ...first] = this.#runtime;
    return execFileSync(command, [...first, ...args], { encoding: "utf8", stdio: "pipe" });
  }

  /** The container's first process. */
  pidOf(id: string): number {
    const found: unknown = JSON.parse(this.runtime("state", id));
    return typeof found === "object" && found !== null && "pid" in found ? Number(found.pid) : -1;
  }

  /** Ends it and removes it, unless it has done both already. */
  remove(id: string): void {
    try {
      this.runtime("delete", "--force", id);
    } catch (error) {
      if (existsSync(join(this.#state, id))) throw error;
    }
  }
}
