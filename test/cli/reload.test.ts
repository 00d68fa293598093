import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { launchBroker, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { berth, berths } from "./support.ts";

const bad = "[sockets.game]\nlisten = 3\n";

describe("berth reload", () => {
  test("prints every new problem with file, line and remedy and exits 1, and nothing has changed", async () => {
    await using broker = await spawnBroker(berths);
    const env = { BERTHD_SOCKET: broker.socket };
    expect(await berth(["reload"], env)).toEqual({ code: 0, stdout: "reloaded: 3 berths\n", stderr: "" });
    broker.folder.write({ "config/a.toml": bad, "config/b.toml": "x = 1" });
    const { code, stdout, stderr } = await berth(["reload"], env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(`${join(broker.folder.path, "config/a.toml")}:2: `);
    expect(stderr).toContain(`${join(broker.folder.path, "config/b.toml")}:1: `);
    expect(stderr).toContain("nothing changed");
    expect((await berth(["ls", "--names"], env)).stdout.split("\n")).toHaveLength(4);
    rmSync(join(broker.folder.path, "config/a.toml"));
    rmSync(join(broker.folder.path, "config/b.toml"));
    expect((await berth(["reload"], env)).code).toBe(0);
  });

  test("is not refused by what was wrong before, and names it", async () => {
    await using broker = await spawnBroker({ ...berths, "a.toml": bad });
    const env = { BERTHD_SOCKET: broker.socket };
    const { code, stdout } = await berth(["reload"], env);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^still \S+a\.toml:2: .*\nreloaded: 4 berths\n$/s);
    expect((await berth(["ls"], env)).stdout).toMatch(/^a +problem /m);
    expect((await berth(["show", "a"], env)).stdout).toMatch(/problem +\S+a\.toml:2: .*\n +remedy +\S/);
  });

  test("is for root and the broker's own user (needs root, to be another)", needs("root"), async () => {
    await using broker = await spawnBroker(berths);
    using peer = await RawPeer.connect(broker.socket, 65534);
    expect((await peer.call("Reload"))?.error).toBe("org.varlink.service.PermissionDenied");
  });
});

describe("berthd", () => {
  test("with a --config that does not exist is wrong usage, not a broker without berths", async () => {
    using folder = new TestFolder();
    await using broker = launchBroker(folder);
    await broker.closed;
    expect(broker.child.exitCode).toBe(100);
    expect(broker.log.map(({ message }) => message).join()).toContain("there is no such folder");
  });

  test("--strict does not start with any problem", async () => {
    using folder = new TestFolder({ "config/a.toml": bad });
    await using broker = launchBroker(folder, ["--strict"]);
    await broker.closed;
    expect(broker.child.exitCode).toBe(1);
    expect(broker.log.map(({ message }) => message).join()).toContain("the configuration has 1 problem");
  });
});
