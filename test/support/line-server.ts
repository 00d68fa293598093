/** A server of lines by TCP, and its players. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { expect } from "vitest";

/**
 * Answers each line of each client with its pid and the line. On stdout it prints `up` once it accepts connections, and
 * `accepted` for each connection.
 */
export const lineServer: string = `import os, selectors, socket
listener = socket.socket(fileno=3)
listener.setblocking(False)
watch = selectors.DefaultSelector()
watch.register(listener, selectors.EVENT_READ)
print("up", flush=True)
while True:
    for key, _ in watch.select():
        if key.fileobj is listener:
            client, _ = listener.accept()
            watch.register(client, selectors.EVENT_READ)
            print("accepted", flush=True)
            continue
        data = key.fileobj.recv(4096)
        if data: key.fileobj.sendall(str(os.getpid()).encode() + b" " + data)
        else:
            watch.unregister(key.fileobj)
            key.fileobj.close()
`;

/** One player's connection, and what became of it. */
export class LineClient {
  readonly socket: Socket;
  readonly connected: Promise<unknown>;
  problem: Error | undefined;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.connected = once(this.socket, "connect");
    this.connected.catch(() => undefined);
    this.socket.on("error", (error) => {
      this.problem = error;
    });
  }

  /** The pid of the server that answers with the line. */
  async ask(line = "hello\n"): Promise<number> {
    const answer = once(this.socket, "data", { signal: AbortSignal.timeout(30_000) });
    this.socket.write(line);
    const [data] = (await answer) as [Buffer];
    const [pid = ""] = data.toString().split(" ", 1);
    expect(data.toString()).toBe(`${pid} ${line}`);
    return Number(pid);
  }
}

/**
 * Resolves when so many connections to the port have sent their SYN and got no answer. One that got it never counts.
 */
export async function mustWait(port: number, count: number): Promise<void> {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const waiting = (): number =>
    readFileSync("/proc/net/tcp", "utf8")
      .split("\n")
      .filter((line) => {
        const [, , to, state] = line.trim().split(/ +/);
        return to === remote && state === SYN_SENT;
      }).length;
  await expect.poll(waiting, { timeout: 30_000 }).toBe(count);
}
const SYN_SENT = "02";
