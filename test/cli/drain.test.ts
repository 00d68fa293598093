/** `berth drain`: what it prints, and how it ends. The broker's part is in test/broker/drain. */
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { launchBroker, spawnBroker } from "../support/broker.ts";
import { RawPeer } from "../support/peer.ts";
import { berth, berths, endServersWithTest, Lines, start } from "./support.ts";

const LEFT = /^lobby: its server stops once nobody plays, at the latest in (\d+:)?\d+:\d\d \(\d{4}-.*Z\)$/;

/** A broker with a server of lobby that has its berth. */
async function served(files = berths) {
  const broker = await spawnBroker(files);
  const env = { BERTHD_SOCKET: broker.socket };
  endServersWithTest(broker.socket);
  const server = start(["run", "lobby", "--", "sh", "-c", "echo on; exec sleep 1000"], env);
  await new Lines(server.stdout).find((line) => line === "on");
  const ended = once(server, "exit");
  const dispose = async (): Promise<void> => {
    server.kill("SIGKILL");
    await ended;
    await broker[Symbol.asyncDispose]();
  };
  return { broker, env, server, ended, [Symbol.asyncDispose]: dispose };
}

describe("berth drain", () => {
  test("says when the server stops, as ls and show do, and --cancel has it go on", async () => {
    await using world = await served();
    const { env } = world;
    const begun = await berth(["drain", "lobby", "arena@bob"], env);
    expect({ code: begun.code, stderr: begun.stderr }).toEqual({ code: 0, stderr: "" });
    const [first = "", second = ""] = begun.stdout.trimEnd().split("\n").sort();
    expect(first).toBe("arena@bob: nobody has it");
    expect(second).toMatch(LEFT);
    expect(second).toMatch(/in (30:00|29:\d\d) /);
    const list = (await berth(["ls"], env)).stdout;
    expect(list).toMatch(/^lobby +draining +\d+/m);
    expect(list.replace(/\n +/g, " ")).toMatch(
      /lobby: its server stops .*; to keep its server: berth drain --cancel lobby/,
    );
    expect((await berth(["show", "lobby"], env)).stdout).toMatch(
      /draining +its server stops once nobody plays, at the/,
    );
    // Without a deadline of its own, another drain changes nothing.
    const [again] = JSON.parse((await berth(["drain", "--json", "lobby"], env)).stdout);
    expect(again).toMatchObject({ berth: "lobby", lease: { pid: world.server.pid } });
    const [shorter] = JSON.parse((await berth(["drain", "--json", "--deadline", "90s", "lobby"], env)).stdout);
    expect(shorter.drain.deadline).toBeLessThan(again.drain.deadline);
    const [open] = JSON.parse((await berth(["drain", "--json", "--when-empty", "lobby"], env)).stdout);
    expect(open.drain).toEqual({ began: again.drain.began });
    expect(await berth(["drain", "--cancel", "lobby", "arena@bob"], env)).toEqual({
      code: 0,
      stdout: expect.stringContaining("lobby: no longer draining; its server goes on\n"),
      stderr: "",
    });
    expect((await berth(["drain", "--cancel", "lobby"], env)).stdout).toBe("lobby: was not draining\n");
    expect((await berth(["ls"], env)).stdout).toMatch(/^lobby +occupied/m);
    expect(world.server.exitCode).toBeNull();
  });

  test("--watch goes on until the server has ended, through a restart of the broker", async () => {
    await using world = await served();
    const watch = start(["drain", "--watch", "--deadline", "8s", "lobby"], world.env);
    const exited = once(watch, "close");
    const lines = new Lines(watch.stdout);
    expect(await lines.find(() => true)).toMatch(LEFT);
    world.broker.child.kill("SIGKILL");
    await world.broker.exited;
    await using _ = launchBroker(world.broker.folder);
    await lines.find((line) => line === "lobby: its server is being stopped");
    expect(await lines.find(() => true)).toBe("lobby: its server has ended");
    expect(await exited).toEqual([0, null]);
    expect(await world.ended).toEqual([null, "SIGTERM"]);
  });

  test("--watch says that the drain was cancelled, and exits with 1", async () => {
    await using world = await served();
    const watch = start(["drain", "--watch", "lobby"], world.env);
    const exited = once(watch, "close");
    const lines = new Lines(watch.stdout);
    await lines.find((line) => LEFT.test(line));
    await berth(["drain", "--cancel", "lobby"], world.env);
    expect(await lines.find((line) => !LEFT.test(line))).toContain("lobby: its drain was cancelled");
    expect(await exited).toEqual([1, null]);
  });

  test("--watch --json prints each event on a line", async () => {
    await using world = await served();
    const watch = start(["drain", "--watch", "--json", "--deadline", "2s", "lobby"], world.env);
    const exited = once(watch, "close");
    const lines = new Lines(watch.stdout);
    const events: string[] = [];
    await lines.find((line) => {
      const { event, berth } = JSON.parse(line);
      events.push(event);
      return berth.state === "vacant";
    });
    expect(events[0]).toBe("present");
    expect(events.slice(-2)).toEqual(["stopping", "released"]);
    expect(await exited).toEqual([0, null]);
  });

  test("--watch at Ctrl-C leaves the drain as it is, and says so", async () => {
    await using world = await served();
    const watch = start(["drain", "--watch", "lobby"], world.env);
    const exited = once(watch, "close");
    let said = "";
    watch.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
    });
    await new Lines(watch.stdout).find((line) => LEFT.test(line));
    watch.kill("SIGINT");
    expect(await exited).toEqual([null, "SIGINT"]);
    expect(said).toBe("berth: interrupted; the drain goes on; to cancel it: berth drain --cancel lobby\n");
    using peer = await RawPeer.connect(world.broker.socket);
    expect((await peer.call("CancelDrain", { berth: "lobby" }))?.parameters["drain"]).toBeDefined();
  });

  test.each([["0s"], ["-1s"], ["30"], ["169h"], ["soon"]])("--deadline=%s is wrong usage", async (deadline) => {
    const { code, stdout, stderr } = await berth(["drain", `--deadline=${deadline}`, "lobby"]);
    expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
    expect(stderr).toBe(
      `berth: --deadline ${deadline} is not a time from 1s to 168h; write for example --deadline 30min\n`,
    );
  });

  test.each([
    [["--deadline", "1h", "--when-empty"]],
    [["--cancel", "--when-empty"]],
    [["--cancel", "--deadline", "1h"]],
    [["--cancel", "--watch"]],
    [[]],
  ])("%j without sense is wrong usage", async (words) => {
    const berthName = words.length === 0 ? [] : ["lobby"];
    expect(await berth(["drain", ...words, ...berthName])).toMatchObject({ code: 100, stdout: "" });
  });

  test("of a berth that does not exist is refused, and does not keep the others", async () => {
    await using broker = await spawnBroker(berths);
    const { code, stdout, stderr } = await berth(["drain", "nope", "lobby"], { BERTHD_SOCKET: broker.socket });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "lobby: nobody has it\n" });
    expect(stderr).toMatch(/^berth: there is no berth "nope"/);
  });
});
