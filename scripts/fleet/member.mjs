/** A member of etcd on a node of its own. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Service } from "./world.mjs";

const CLIENTS = 2379;
const PEERS = 2380;

/** Starts members on these nodes. Their data is in `folder`, that of the last one on a small disk if `isSmall`. */
export async function startMembers(nodes, folder, { isSmall = false } = {}) {
  const cluster = nodes.map(({ name, address }) => `${name}=http://${address}:${PEERS}`).join(",");
  const members = nodes.map((node) => new Member(node, join(folder, node.name), cluster));
  if (isSmall) members.at(-1).mountSmallDisk();
  await Promise.all(members.map((member) => member.start()));
  return members;
}

export class Member {
  #cluster;

  constructor(node, folder, cluster) {
    this.node = node;
    this.folder = folder;
    this.#cluster = cluster;
    mkdirSync(folder, { recursive: true });
  }

  get endpoint() {
    return `http://${this.node.address}:${CLIENTS}`;
  }

  /** Resolves when it serves, which needs a majority. */
  async start() {
    const { name, address } = this.node;
    const peers = `http://${address}:${PEERS}`;
    this.service = new Service(
      [
        ...[...this.node.wrap, "etcd", "--name", name, "--data-dir", join(this.folder, "data")],
        ...["--listen-client-urls", this.endpoint, "--advertise-client-urls", this.endpoint],
        ...["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers],
        ...["--initial-cluster", this.#cluster, "--initial-cluster-token", "world"],
      ],
      { GOMAXPROCS: "1" },
    );
    await this.service.says("ready to serve client requests");
  }

  /** Whether it leads, by its metrics; false if it does not answer. */
  async leads() {
    try {
      const reply = await fetch(`${this.endpoint}/metrics`, { signal: AbortSignal.timeout(2_000) });
      return (await reply.text()).includes("\netcd_server_is_leader 1\n");
    } catch {
      return false;
    }
  }

  mountSmallDisk() {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=400m", "berthd-fleet", this.folder]);
  }

  /** Leaves some megabytes of its disk. */
  fillDisk() {
    const { bavail, bsize } = statfsSync(this.folder);
    const file = openSync(this.#ballast, "w");
    const piece = Buffer.alloc(2 ** 20);
    for (let left = bavail * bsize - 4 * piece.length; left > 0; left -= piece.length) writeSync(file, piece);
    closeSync(file);
  }

  emptyDisk() {
    rmSync(this.#ballast, { force: true });
  }

  get #ballast() {
    return join(this.folder, "ballast");
  }
}
