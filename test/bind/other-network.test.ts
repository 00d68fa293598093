/** A server that leaves the network namespace it was started in, as one does that starts containers. */
import { describe, expect, it } from "vitest";
import { FakeManager } from "../support/fake-manager.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, copyFixture, inodesAt, run, type Server } from "./harness.ts";

interface World {
  readonly manager: FakeManager;
  readonly server: Server;
  /** The inode of the berth's socket. */
  readonly held: string;
  readonly port: number;
}

async function serving(settings: string, test: (world: World) => Promise<void>): Promise<void> {
  await using manager = new FakeManager({ max: 64 });
  const port = await freePort();
  manager.config("game.toml", berth({ game: [`udp://0.0.0.0:${port}`] }, settings));
  const script = copyFixture(manager.folder, "other-network.py");
  await manager.start();
  await using server = run(manager, "game", ["python3", "-u", script, String(port)]);
  const [held = ""] = await server.said(5);
  expect(inodesAt("udp", port)).toEqual([held]);
  await test({ manager, server, held, port });
}

describe("in a network namespace of its own", needs("root"), () => {
  it("a process gets no socket of the berth, and binds there as without a berth", () =>
    serving("", async ({ manager, server, held, port }) => {
      const [, own, privileged, early, other] = await server.said(5);
      expect(own).toMatch(/^\d+$/);
      expect([own, privileged]).not.toContain(held);
      expect(privileged).toMatch(/^\d+$/);
      expect([early, other]).toEqual(["EACCES", "EACCES"]);
      expect(inodesAt("udp", port)).toEqual([held]);
      const refusals = () => manager.log.filter(({ event }) => event === "bind-refused").map(({ message }) => message);
      await expect
        .poll(refusals)
        .toEqual([
          expect.stringMatching(
            /^berth game: pid \d+ of its server bound udp:\/\/0\.0\.0\.0:\d+ in another network namespace than it was started in, .* set server\.any-namespace = true$/,
          ),
          expect.stringContaining(`may not bind udp://0.0.0.0:${port}`),
          expect.stringContaining(`may not bind udp://0.0.0.0:${port + 1}`),
        ]);
    }));

  it("a process gets none of the next broker, either", () =>
    serving("", async ({ manager, server, held }) => {
      await manager.end();
      await manager.start();
      server.child.stdin?.write("\n");
      const lines = await server.said(6);
      expect(lines[5]).toMatch(/^\d+$/);
      expect(lines[5]).not.toBe(held);
    }));

  it("a process gets the berth's sockets with any-namespace", () =>
    serving("any-namespace = true", async ({ server, held }) => {
      expect(await server.said(5)).toEqual([held, held, "EACCES", held, "EACCES"]);
    }));
});
