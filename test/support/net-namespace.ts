/** Network namespaces of a test's own, and a cable between two. Needs root, unshare, nsenter and ip. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { pathOf } from "./needs.ts";
import { endsWithTest } from "./wrap.ts";

export class NetNamespace implements AsyncDisposable {
  readonly #holder: ChildProcess;
  /** In front of a command, which then runs in it in the same process. */
  readonly wrap: readonly string[];

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
    this.wrap = [pathOf("nsenter"), `--net=/proc/${holder.pid}/ns/net`, "--"];
  }

  static async make(): Promise<NetNamespace> {
    const [first = "", ...rest] = [
      ...endsWithTest,
      ...[pathOf("unshare"), "--net", "--", "sh", "-c", '"$0" link set lo up && echo ready && exec sleep infinity'],
      pathOf("ip"),
    ];
    const holder = spawn(first, rest, { stdio: ["ignore", "pipe", "inherit"] });
    if (holder.stdout === null) throw new Error("no stdout");
    await once(holder.stdout, "data");
    return new NetNamespace(holder);
  }

  /** Runs a command in it; what it prints. */
  run(...command: readonly string[]): string {
    const [first = "", ...rest] = [...this.wrap, ...command];
    return execFileSync(first, rest, { encoding: "utf8" });
  }

  /** Joins it with another by a cable. Each end has an IPv4 and a link-local address. */
  plug(name: string, other: NetNamespace): void {
    const ip = pathOf("ip");
    this.run(...[ip, "link", "add", name, "type", "veth", "peer", name, "netns", String(other.#holder.pid)]);
    for (const [end, number] of [[this, 1] as const, [other, 2] as const]) {
      end.run(ip, "addr", "add", `10.9.0.${number}/24`, "dev", name);
      end.run(ip, "link", "set", name, "up");
      end.run(ip, "addr", "add", `fe80::${number}/64`, "dev", name, "nodad");
    }
  }

  unplug(name: string): void {
    this.run(pathOf("ip"), "link", "del", name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.kill("SIGKILL");
    await once(this.#holder, "close");
  }
}
