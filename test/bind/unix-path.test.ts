/** Servers that remove the path of their UNIX socket before they bind it: clients reach them in each life. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { spawnBroker, startBroker, TestFolder } from "../support/broker.ts";
import { Dynasty } from "../support/dynasty.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { berth, copyFixture, linesOf, NOBODY, run, type Server, socketsOf } from "./harness.ts";

leaksNothing("soon");

/** A path in a folder where the server may remove it. */
function pathIn({ path }: TestFolder): string {
  mkdirSync(join(path, "open"));
  chmodSync(join(path, "open"), 0o777);
  return join(path, "open", "socket");
}

/** What a client hears at the path. */
async function ask(path: string): Promise<string> {
  let answer = "";
  for await (const part of connect(path).setEncoding("latin1")) answer += part;
  return answer;
}

/** Resolves when the broker has seen that its server is gone. */
async function vacant({ socket }: { readonly socket: string }): Promise<void> {
  using peer = await RawPeer.connect(socket);
  const state = async (): Promise<unknown> => (await peer.call("List"))?.parameters["berths"];
  await expect.poll(state).toMatchObject([{ state: "vacant" }]);
}

/** Inodes of the sockets that are bound to the path (proc_net(5)). Connections to it are listed there, too. */
function listening(path: string): string[] {
  const rows = readFileSync("/proc/net/unix", "utf8").split("\n");
  const columns = rows.map((row) => row.trim().split(/\s+/)).filter((row) => row[7] === path && row[3] === "00010000");
  return columns.map((row) => row[6] ?? "");
}

describe("a server that removes its UNIX path and binds it anew", needs("root"), () => {
  it("is reachable in each life, also after SIGKILL of server and broker", async () => {
    await using dynasty = new Dynasty();
    const path = pathIn(dynasty.folder);
    dynasty.config({ "game.toml": berth({ rcon: [`unix://${path}`] }) });
    const command = ["python3", copyFixture(dynasty.folder, "unix-path.py"), "serve", path];
    const mustServe = async (server: Server): Promise<void> => {
      expect(await ask(path)).toBe(String(server.pid));
      const [inode = "", ...others] = listening(path);
      expect(others).toEqual([]);
      expect(socketsOf(dynasty.broker.pid)).toContain(inode);
    };
    await dynasty.start();
    for (const life of [1, 2, 3]) {
      await vacant(dynasty);
      await using server = run(dynasty, "game", command);
      expect(await server.said(1), `life ${life}`).toEqual(["serves"]);
      await mustServe(server);
    }
    {
      await vacant(dynasty);
      await using server = run(dynasty, "game", command);
      await server.said(1);
      dynasty.broker.child.kill("SIGKILL");
      await dynasty.broker.exited;
      expect(await ask(path)).toBe(String(server.pid));
      await dynasty.start();
      await mustServe(server);
      await dynasty.replace();
      await mustServe(server);
    }
    await vacant(dynasty);
    await using server = run(dynasty, "game", command);
    await server.said(1);
    await mustServe(server);
  });

  it("gets what is sent to it, where the socket is one of datagrams", async () => {
    using folder = new TestFolder();
    const path = pathIn(folder);
    await using test = await startBroker({ "game.toml": berth({ log: [`unix-dgram://${path}`] }) });
    const script = copyFixture(folder, "unix-path.py");
    const send = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'hello', sys.argv[1])";
    for (const life of [1, 2]) {
      await vacant(test);
      await using server = run(test, "game", ["python3", script, "dgram", path]);
      await server.said(1);
      execFileSync("python3", ["-c", send, path]);
      expect(await server.said(2), `life ${life}`).toEqual(["serves", "hello"]);
    }
  });

  it.each([
    ["while it has its old socket, whose clients it still serves", "twice"],
    ["after another process has taken the path, and when that is gone", "taken"],
  ])("sees what it would without a broker: %s", async (_, mode) => {
    using folder = new TestFolder();
    const path = pathIn(folder);
    const script = copyFixture(folder, "unix-path.py");
    const ids = { uid: NOBODY, gid: NOBODY };
    const plain = execFileSync("python3", [script, mode, path], { ...ids, encoding: "utf8" })
      .trimEnd()
      .split("\n");
    await using broker = await spawnBroker({ "game.toml": berth({ rcon: [`unix://${path}`] }) });
    expect(await linesOf(broker, "game", ["python3", script, mode, path])).toEqual(plain);
    expect(plain.length).toBeGreaterThan(2);
  });
});
