import { once } from "node:events";
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { spawnBroker } from "../support/broker.ts";
import { RawPeer } from "../support/peer.ts";
import { berth, berths, endServersWithTest, fakeBroker, Lines, start } from "./support.ts";

const isGone = (pid: number | undefined): boolean => !existsSync(`/proc/${pid}`);

/** Ignores SIGTERM until a line comes, which nobody writes. */
const stubborn = ["sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 0.1; done'];

describe("berth stop", () => {
  test("ends the servers of several berths, one line for each, and says who had none", async () => {
    const files = { "arena@alice.toml": berths["lobby.toml"] ?? "", "arena@bob.toml": "" };
    await using broker = await spawnBroker({ ...berths, ...files });
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const servers = ["arena@alice", "lobby"].map((name) =>
      start(["run", name, "--", "sh", "-c", "echo on; exec sleep 1000"], env),
    );
    for (const { stdout } of servers) await new Lines(stdout).find((line) => line === "on");
    const ended = servers.map((server) => once(server, "exit"));
    const [alice, lobby] = servers.map(({ pid }) => pid);
    const { code, stdout, stderr } = await berth(["stop", "lobby", "arena@bob", "arena@alice", "lobby"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").sort()).toEqual([
      "",
      `arena@alice: stopped pid ${alice}`,
      "arena@bob: nobody has it",
      `lobby: stopped pid ${lobby}`,
    ]);
    expect(await Promise.all(ended)).toEqual([
      [null, "SIGTERM"],
      [null, "SIGTERM"],
    ]);
    expect((await berth(["ls"], env)).stdout).not.toContain("occupied");
  });

  test("takes a pattern, of which a berth that is named as well is stopped once", async () => {
    await using broker = await spawnBroker(berths);
    const { code, stdout } = await berth(["stop", "--json", "arena@?o?", "arena@*"], { BERTHD_SOCKET: broker.socket });
    expect(code).toBe(0);
    const names: readonly unknown[] = JSON.parse(stdout).map(({ berth }: { readonly berth: unknown }) => berth);
    expect(names).toEqual(["arena@bob", "arena@alice"]);
  });

  test("--json prints a record for each in the order given; one that fails does not keep the others", async () => {
    await using broker = await spawnBroker(berths);
    const env = { BERTHD_SOCKET: broker.socket };
    const { code, stdout, stderr } = await berth(["stop", "--json", "nope", "lobby"], env);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual([
      { berth: "nope", error: "io.berthd.Broker.NoSuchBerth", message: expect.stringContaining("no berth") },
      { berth: "lobby", killed: false, again: false },
    ]);
    expect(stderr).toMatch(/^berth: there is no berth "nope"; [^\n]+\n$/);
  });

  test("after --timeout it says that the broker goes on, and exits with 111", async () => {
    const text = `${berths["lobby.toml"]}stop-timeout = "8s"\n`;
    await using broker = await spawnBroker({ "lobby.toml": text });
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const server = start(["run", "lobby", "--", ...stubborn], env);
    await new Lines(server.stdout).find((line) => line === "ready");
    const ended = once(server, "exit");
    expect(await berth(["stop", "--timeout", "0.5", "lobby"], env)).toEqual({
      code: 111,
      stdout: "",
      stderr:
        "berth: berth lobby has not stopped within 0.5 s, and the broker goes on; to wait again: berth stop lobby\n",
    });
    expect((await berth(["stop", "lobby"], env)).stdout).toBe(
      `lobby: stopped pid ${server.pid}; it did not end in time and got SIGKILL\n`,
    );
    expect(await ended).toEqual([null, "SIGKILL"]);
  });

  test("ends at Ctrl-C as one that was interrupted, and the server is stopped all the same", async () => {
    await using broker = await spawnBroker({ "lobby.toml": `${berths["lobby.toml"]}stop-timeout = "3s"\n` });
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const server = start(["run", "lobby", "--", ...stubborn], env);
    await new Lines(server.stdout).find((line) => line === "ready");
    const ended = once(server, "exit");
    const stop = start(["stop", "lobby"], env);
    let said = "";
    stop.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
    });
    await broker.logged(({ event }) => event === "stopping");
    stop.kill("SIGINT");
    expect(await once(stop, "close")).toEqual([null, "SIGINT"]);
    expect(said).toBe("berth: interrupted; the broker goes on stopping what it began to stop\n");
    expect(isGone(server.pid)).toBe(false);
    expect(await ended).toEqual([null, "SIGKILL"]);
  });

  test("is refused to a stranger, in the broker's words", async () => {
    await using broker = await fakeBroker([
      { error: "org.varlink.service.PermissionDenied", parameters: { message: "no\u001b[2J" } },
    ]);
    expect(await berth(["stop", "--socket", broker.socket, "lobby"])).toEqual({
      code: 1,
      stdout: "",
      stderr: "berth: no\\x1b[2J\n",
    });
  });

  test.each([["0"], ["-1"], ["1h"], ["9999999"]])("--timeout %s is wrong usage", async (timeout) => {
    expect(await berth(["stop", `--timeout=${timeout}`, "lobby"])).toMatchObject({ code: 100, stdout: "" });
  });

  test("without a broker it says so", async () => {
    expect(await berth(["stop", "--socket", "/nowhere/broker", "lobby"])).toMatchObject({ code: 111, stdout: "" });
  });

  test("the lease is told, too: a client that watches hears of stopping and released", async () => {
    await using broker = await spawnBroker(berths);
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const server = start(["run", "lobby"], env);
    const watch = start(["watch", "lobby"], env);
    const lines = new Lines(watch.stdout);
    await lines.find((line) => line.endsWith(`  lobby  ${server.pid}`));
    await berth(["stop", "lobby"], env);
    await lines.find((line) => line.includes("stopping"));
    expect(await lines.find(() => true)).toMatch(/ released {2}lobby$/);
    watch.kill("SIGTERM");
    using peer = await RawPeer.connect(broker.socket);
    expect(await peer.call("Stop", { berth: "lobby" })).toEqual({ parameters: { killed: false, again: false } });
  });
});
