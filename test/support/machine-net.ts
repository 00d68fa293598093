/** The network of a machine, asked from inside: nothing outside reaches it. */
import { execFileSync } from "node:child_process";
import { type Machine, NODE, PACKAGE } from "./machine.ts";
import { pathOf } from "./needs.ts";

/** Sends a request to a server inside, at 127.0.0.1 unless said, and gives its answer once it has `least` bytes. */
export async function ask(
  machine: Machine,
  protocol: "tcp" | "udp",
  port: number,
  request: string | Buffer,
  least = 1,
  host = "127.0.0.1",
): Promise<Buffer> {
  const hex = (typeof request === "string" ? Buffer.from(request, "latin1") : request).toString("hex");
  const words = [protocol, host, String(port), hex, String(least)];
  return Buffer.from(await machine.ok([NODE, `${PACKAGE}/test/fixtures/ask.mjs`, ...words]), "hex");
}

/** Inodes of the sockets inside that are bound to a port, connections aside; sorted. Default: of UDP and TCP. */
export async function inodesAt(machine: Machine, port: number, protocol?: "tcp" | "udp"): Promise<string[]> {
  const kinds = protocol === undefined ? ["--tcp", "--udp"] : [`--${protocol}`];
  const rows = (await machine.ok(["ss", "-Hlne", ...kinds, `sport = :${port}`])).trim().split("\n");
  return rows.flatMap((row) => / ino:(\d+) /.exec(row)?.[1] ?? []).sort();
}

/** Joins two machines by a cable, `eth0` in each, and brings it up with these IPv4 addresses, as `192.0.2.1/24`. */
export async function plug(one: Machine, other: Machine, addresses: readonly [string, string]): Promise<void> {
  const inside = (machine: Machine): string => `--net=/proc/${machine.leader}/ns/net`;
  const ends = ["type", "veth", "peer", "name", "eth0", "netns", String(other.leader)];
  execFileSync(pathOf("nsenter"), [inside(one), "--", pathOf("ip"), "link", "add", "eth0", ...ends]);
  for (const [machine, address] of [[one, addresses[0]] as const, [other, addresses[1]] as const])
    await machine.sh(`ip link set lo up && ip addr add ${address} dev eth0 && ip link set eth0 up`);
}
