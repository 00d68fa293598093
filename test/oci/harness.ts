/** A berth for containers, and what is asked of the server in one (test/fixtures/oci/server.c). */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createConnection } from "node:net";
import { join } from "node:path";
import { packageRoot } from "../../src/native.ts";
import { askUdp } from "../bind/harness.ts";
import type { TestFolder } from "../support/broker.ts";
import { compileC } from "../support/compile.ts";

/** The server, which needs no other file in its container. Returns its path. */
export function compileServer(folder: TestFolder): string {
  return compileC(join(packageRoot, "test/fixtures/oci/server.c"), join(folder.path, "server"), ["-static"]);
}

/** A berth at one port of UDP and TCP, with these lines in its [server]. */
export function berthAt(port: number, server: string): string {
  const listen = ["udp", "tcp"].map((scheme) => `${scheme}://0.0.0.0:${port}`);
  return `[sockets.game]\nlisten = ${JSON.stringify(listen)}\n[server]\ndeliver = ["bind"]\n${server}\n`;
}

/** Asks the server by UDP. */
export async function ask(port: number, question: string): Promise<string> {
  return (await askUdp(port, question)).toString();
}

/** Says something by UDP that the server does not answer. */
export async function tell(port: number, text: string): Promise<void> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve, reject) =>
    socket.send(text, port, "127.0.0.1", (error) => (error === null ? resolve() : reject(error))),
  );
  socket.close();
}

/** Asks from an address of its own; returns that address, and the one that the server sees. */
export async function who(kind: "udp" | "tcp", port: number): Promise<[string, string]> {
  const localAddress = "127.0.5.5";
  if (kind === "tcp") {
    const socket = createConnection({ port, host: "127.0.0.1", localAddress });
    await once(socket, "connect");
    const own = `${localAddress}:${socket.localPort}`;
    socket.end("who\n");
    let answer = "";
    for await (const part of socket.setEncoding("utf8")) answer += part;
    return [own, answer.trim()];
  }
  const socket = createSocket("udp4");
  socket.bind(0, localAddress);
  await once(socket, "listening");
  socket.send("who", port, "127.0.0.1");
  const [answer]: unknown[] = await once(socket, "message");
  const own = `${localAddress}:${socket.address().port}`;
  socket.close();
  return [own, String(answer)];
}
