/** A server that does what a test tells it, over its own UDP socket: test/fixtures/notify-server.py. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fixtures } from "./puppet.ts";

/** The program. */
export const notifyServer: string = readFileSync(join(fixtures, "notify-server.py"), "utf8");

/** Runs Python in the server on this port; the repr of what it left in `result`. */
export async function askServer(port: number, code: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    const answer = once(socket, "message", { signal: AbortSignal.timeout(30_000) });
    socket.send(code, port, "127.0.0.1");
    const [data] = (await answer) as [Buffer];
    return data.toString();
  } finally {
    socket.close();
  }
}
