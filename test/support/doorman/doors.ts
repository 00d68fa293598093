/** Berths whose servers sleep behind a doorman, and clients of them. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { expect, vi } from "vitest";
import { selfServer, user } from "../starting-broker.ts";
import { joins, queries } from "./scans.ts";

export const PATIENCE = { timeout: 60_000, interval: 20 };

/** The lines of a server that answers as Quake III. */
export const asleep = 'asleep = "quake3"\nasleep-as = { name = "Frozen Lake", map = "lake", slots = 12 }\n';
const packet = (table: Readonly<Record<string, { readonly bytes: Buffer }>>, name: string): Buffer =>
  table[name]?.bytes ?? expect.unreachable();
export const getstatus: Buffer = packet(queries, "Quake III status of gamedig");
export const ping: Buffer = packet(queries, "Bedrock's ping, Shodan");
export const join3: Buffer = packet(joins, "ioquake3");

/** A berth's file. Its server echoes datagrams, unless it is another one. */
export function berth(listen: readonly string[], more: string, server: string = selfServer): string {
  const sockets = listen.map((address, at) => `[sockets.game${at}]\nlisten = ["${address}"]\n`).join("");
  return `${sockets}[server]\n${user}${server}start = "on-demand"\n${more}`;
}

/** The doormen of a broker, by its pid. */
export function doormen(broker: number = process.pid): number[] {
  const children = readdirSync(`/proc/${broker}/task`).flatMap((task) =>
    readFileSync(`/proc/${broker}/task/${task}/children`, "utf8").split(" ").filter(Boolean),
  );
  return children.map(Number).filter((pid) => /doorman\/main\.js/.test(contents(`/proc/${pid}/cmdline`)));
}

function contents(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

export const status = (pid: number): string => contents(`/proc/${pid}/status`);

/** The only one, once it is confined. */
export async function ready(broker: number = process.pid): Promise<number> {
  return vi.waitFor(() => {
    const [pid = 0, ...others] = doormen(broker);
    expect(others).toEqual([]);
    expect(status(pid)).toMatch(/^Seccomp_filters:\t2$/m);
    return pid;
  }, PATIENCE);
}

/** The answer to a query by UDP, which is asked again until there is one. */
export async function ask(port: number, question: Uint8Array): Promise<string> {
  const udp = await client(port);
  try {
    const answer = once(udp, "message", { signal: AbortSignal.timeout(60_000) });
    // It is refused while nobody has the address.
    udp.on("error", () => undefined);
    const again = setInterval(() => udp.send(question), 200);
    udp.send(question);
    const [bytes] = await answer.finally(() => clearInterval(again));
    return String(bytes);
  } finally {
    udp.close();
  }
}

/** Waits until the socket on this UDP port has nothing unread (proc_net(5)): {@link ask} may ask more than once. */
export async function allRead(port: number): Promise<void> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  await vi.waitFor(() => {
    const rows = readFileSync("/proc/net/udp", "utf8")
      .split("\n")
      .map((row) => row.trim().split(/\s+/));
    const queues = rows.filter(([, local]) => local?.endsWith(suffix) === true).map((row) => row[4]);
    expect(queues).toEqual(["00000000:00000000"]);
  }, PATIENCE);
}

/** All that is said by TCP, to these bytes. */
export async function talk(port: number, bytes: Uint8Array): Promise<string> {
  const tcp = connect(port, "127.0.0.1");
  tcp.setTimeout(60_000, () => tcp.destroy(new Error("there was no end")));
  tcp.write(bytes);
  let said = "";
  for await (const part of tcp) said += String(part);
  return said;
}

export async function client(port: number): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.connect(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

export const send = (socket: Socket, bytes: Uint8Array): Promise<void> =>
  new Promise((done, fail) => socket.send(bytes, (error) => (error ? fail(error) : done())));
