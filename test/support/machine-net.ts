/** The network of a machine, asked from inside: nothing outside reaches it. */
import { type Machine, NODE, PACKAGE } from "./machine.ts";

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

/** Inodes of the sockets inside that are bound to a port, connections aside; sorted. */
export async function inodesAt(machine: Machine, port: number): Promise<string[]> {
  const rows = (await machine.ok(["ss", "-Hlntue", `sport = :${port}`])).trim().split("\n");
  return rows.flatMap((row) => / ino:(\d+) /.exec(row)?.[1] ?? []).sort();
}
