/** The process that reads what a server asks for: how long it is there, and what it has. */
import { readdirSync, readlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { spawnBroker } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, copyFixture, readersOf, run, statusOf } from "./harness.ts";

/** Longer than it stays without a bind. */
const IDLE_MS = 30_000;

function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/\d+/, ""));
}

describe("the process that reads what a server asks for", { ...needs("root"), timeout: 60_000 }, () => {
  it("has no descriptor but its own, and ends without binds, with its server, and with a broker that is killed", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) });
    const command = ["python3", "-u", copyFixture(broker.folder, "bind-told.py")];
    const readers = (): number[] => readersOf(broker.pid);
    {
      await using server = run(broker, "game", command);
      await server.said(1);
      server.child.stdin?.write(`udp 127.0.0.1 ${port}\n`);
      await server.said(2);
      const [reader] = readers();
      expect(descriptorsOf(reader ?? 0)).toEqual(["socket:[]", "socket:[]"]);
      await expect.poll(readers, { timeout: IDLE_MS }).toEqual([]);
      server.child.stdin?.write(`udp 127.0.0.1 ${port}\n`);
      expect((await server.said(3))[2]).toBe("EADDRINUSE");
      expect(readers()).toHaveLength(1);
    }
    await expect.poll(readers).toEqual([]);
    await using server = run(broker, "game", command);
    await server.said(1);
    server.child.stdin?.write(`udp 127.0.0.1 ${port}\n`);
    await server.said(2);
    const [last] = readers();
    expect(statusOf(last ?? 0)).not.toBe("");
    broker.child.kill("SIGKILL");
    await expect.poll(() => statusOf(last ?? 0)).toBe("");
  });
});
