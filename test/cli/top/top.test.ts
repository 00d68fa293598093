/** `berth top`: figures of a server that works, has connections and loses datagrams; on a terminal and without one. */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrokerProcess, spawnBroker } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { berth, cli, start } from "../support.ts";

interface Look {
  readonly berths: readonly Readonly<Record<string, unknown>>[];
}

const ALTERNATE = "\u001b[?1049h\u001b[?25l";
const BACK = "\u001b[?25h\u001b[?1049l";

/** Accepts one connection of those that come, reads no datagram, and works in a child. */
const server = `import os, socket
tcp = socket.socket(fileno=3)
kept = tcp.accept()
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent: pass
    os._exit(0)
print("accepted", flush=True)
os.wait()`;

describe("berth top", () => {
  let broker: BrokerProcess;
  let env: NodeJS.ProcessEnv;
  let tenant: ReturnType<typeof start>;
  let port: number;
  const clients: ReturnType<typeof connect>[] = [];

  beforeAll(async () => {
    port = await freePort();
    const listen = `[sockets.web]\nlisten = ["tcp://127.0.0.1:${port}"]\n[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\nreceive-buffer = 4096\n`;
    broker = await spawnBroker({
      "busy.toml": `${listen}[server]\n${process.geteuid?.() === 0 ? 'user = "nobody"\n' : ""}command = ["python3", "-c", """${server}"""]\n`,
      "idle.toml": '[sockets.game]\nlisten = ["udp://[::1]:0", "tcp://*:0"]\n',
    });
    env = { BERTHD_SOCKET: broker.socket };
    tenant = start(["run", "busy"], env);
    for (let at = 0; at < 3; at++) {
      const client = connect(port, "127.0.0.1");
      clients.push(client);
      await once(client, "connect");
    }
    await once(tenant.stdout, "data");
    const player = createSocket("udp4");
    for (let sent = 0; sent < 200; sent++)
      await new Promise((resolve) => player.send(Buffer.alloc(1000), port, "127.0.0.1", resolve));
    player.close();
  });
  afterAll(async () => {
    for (const client of clients) client.destroy();
    tenant.kill("SIGTERM");
    await broker[Symbol.asyncDispose]();
  });

  test("tells processor, memory, connections, backlog, queue and drops of all processes of a server", async () => {
    const { code, stdout, stderr } = await berth(["top", "--json", "--once", "--interval", "0.5"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const look = JSON.parse(stdout) as Look;
    const [busy, idle] = ["busy", "idle"].map((name) => look.berths.find((one) => one["name"] === name));
    expect(busy).toMatchObject({ state: "occupied", pid: tenant.pid, processes: 2, connections: 3, backlog: 2 });
    expect(busy?.["cpu"]).toBeGreaterThan(0);
    expect(busy?.["cpu"]).toBeLessThan(1.5);
    expect(busy?.["memory"]).toBeGreaterThan(1_000_000);
    expect(busy?.["queue"]).toBeGreaterThan(1000);
    expect(busy?.["drops"]).toBeGreaterThan(100);
    const nothing = { connections: 0, backlog: 0, queue: 0, drops: 0 };
    expect(idle).toMatchObject({ state: "vacant", pid: null, cpu: null, memory: null, processes: null, ...nothing });
  });

  test("prints one table where there is no terminal, of the berths that are named", async () => {
    const { code, stdout } = await berth(["top", "--interval", "0.2", "busy"], env);
    expect(code).toBe(0);
    const [titles, row, ...more] = stdout.trimEnd().split("\n");
    expect(titles).toMatch(/^NAME +STATE +PID +CPU% +MEM +CONNS +BACKLOG +QUEUE +DROPS$/);
    expect(row).toMatch(new RegExp(`^busy +occupied +${tenant.pid} +[\\d.]+ +[\\d.]+M +3 +2 +[\\d.]+K +\\d+$`));
    expect(more).toEqual([]);
  });

  test.each([
    [["top", "nope"], 1, 'there is no berth "nope"'],
    [["top", "--interval", "0"], 100, "--interval 0 is not a number of seconds from 0.1 to 3600"],
  ])("%j is refused", async (words, code, why) => {
    const ended = await berth(words, env);
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: "" });
    expect(ended.stderr).toContain(why);
  });

  test("ends each look with a line as JSON, and at SIGINT without a word", async () => {
    const child = start(["top", "--json", "--interval", "0.1"], env);
    const ended = once(child, "exit");
    let lines = 0;
    for await (const chunk of child.stdout.setEncoding("utf8")) {
      lines += String(chunk).split("\n").length - 1;
      if (lines >= 3) child.kill("SIGINT");
    }
    expect(lines).toBeGreaterThanOrEqual(3);
    expect(await ended).toEqual([0, null]);
  });

  test.each([
    ["q", "q"],
    ["Ctrl-C", "\u0003"],
  ])("on a terminal shows itself anew until %s, and gives the screen back", needs("script"), async (_, key) => {
    const command = `${process.execPath} ${cli} top --interval 0.1`;
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      env: { ...process.env, ...env, TERM: "xterm" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ended = once(child, "exit");
    let shown = "";
    let isPressed = false;
    for await (const chunk of child.stdout.setEncoding("utf8")) {
      shown += chunk;
      if (isPressed || shown.split("\u001b[H").length < 4) continue;
      isPressed = true;
      child.stdin.write(key);
    }
    expect(await ended).toEqual([0, null]);
    expect(shown.slice(0, ALTERNATE.length)).toBe(ALTERNATE);
    expect(shown.slice(-BACK.length)).toBe(BACK);
    expect(shown).toContain(`${tenant.pid}`);
  });
});
