/** Servers whose binds are answered, while their broker is killed and another takes over. Needs root. */
import { readlinkSync, readSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FakeManager } from "../support/fake-manager.ts";
import { expectFdsAgain, settledFds } from "../support/fds.ts";
import { inject } from "../support/inject.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, copyFixture, inodesAt, run, type Server } from "./harness.ts";

interface World {
  readonly manager: FakeManager;
  readonly server: Server;
  /** The inode of the berth's socket, which the server has had once. */
  readonly held: string;
}

async function rebinding(test: (world: World) => Promise<void>): Promise<void> {
  const before = await settledFds();
  {
    await using manager = new FakeManager({ max: 64 });
    const port = await freePort();
    manager.config("game.toml", berth({ game: [`udp://127.0.0.1:${port}`] }));
    const script = copyFixture(manager.folder, "rebind.py");
    await manager.start();
    await using server = run(manager, "game", ["python3", "-u", script, String(port)]);
    server.child.stdin?.write("\n");
    const [held = ""] = await server.said(1);
    expect(inodesAt("udp", port)).toEqual([held]);
    await test({ manager, server, held });
    await server.kill();
    await expect
      .poll(() => manager.names.filter((name) => !name.startsWith("socket.") && !name.startsWith("control.")))
      .toEqual([]);
  }
  await expectFdsAgain(before);
}

describe("a bind", { ...needs("root"), timeout: 60_000 }, () => {
  it("waits while there is no broker, and one that was being answered is answered by the next", () =>
    rebinding(async ({ manager, server, held }) => {
      await manager.end();
      server.child.stdin?.write("\n");
      await manager.start();
      await server.said(2);

      // More than 200 a second: from then on each waits for 20 ms, received and unanswered.
      server.child.stdin?.write("\n".repeat(20_000));
      for (let round = 0; round < 4; round++) {
        await server.said(server.lines.length + 250);
        await manager.end();
        await manager.start();
      }
      expect([...new Set(server.lines)]).toEqual([held]);
      expect(manager.names.filter((name) => name.startsWith("binds."))).toHaveLength(2);
    }));

  // Receive, see whether it still waits, place the socket, answer.
  it.each([1, 2, 3, 4])(
    "is answered by the next broker when one is killed at step %i of answering",
    needs("strace"),
    (step) =>
      rebinding(async ({ manager, server, held }) => {
        const stop = await inject(manager.child?.pid ?? -1, "ioctl", `signal=SIGKILL:when=${step}`);
        server.child.stdin?.write("\n");
        await manager.exited();
        await stop();
        await manager.end();
        expect(server.lines).toHaveLength(1);
        await manager.start();
        expect(await server.said(2)).toEqual([held, held]);
      }),
  );

  it("is answered by the next broker when one is killed right after it received the call", needs("strace"), () =>
    rebinding(async ({ manager, server, held }) => {
      const stop = await inject(manager.child?.pid ?? -1, "ioctl", "delay_exit=20000000:when=1");
      const record = (): string => {
        const call = Buffer.alloc(80);
        for (const { name, handle } of manager.store) {
          const isRecord = name.startsWith("binds.") && readlinkSync(`/proc/self/fd/${handle.fd}`).includes("memfd:");
          if (isRecord) readSync(handle.fd, call, 0, call.length, 0);
        }
        return call.toString("hex");
      };
      const last = record();
      server.child.stdin?.write("\n");
      await expect.poll(() => [last, "0".repeat(160)].includes(record()), { timeout: 30_000 }).toBe(false);
      manager.child?.kill("SIGKILL");
      await stop();
      await manager.end();
      expect(server.lines).toHaveLength(1);
      await manager.start();
      expect(await server.said(2)).toEqual([held, held]);
    }),
  );
});
