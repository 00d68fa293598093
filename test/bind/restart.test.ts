/** Servers whose binds are answered, while their broker is killed and another takes over. Needs root. */
import { expect, it } from "vitest";
import { FakeManager } from "../support/fake-manager.ts";
import { fdsAgain, openFds } from "../support/fds.ts";
import { freePort } from "../support/ports.ts";
import { isRoot } from "../support/puppet.ts";
import { berth, copyFixture, inodesAt, run } from "./harness.ts";

it.skipIf(!isRoot)(
  "a bind waits while there is no broker, and one that was being answered is answered by the next",
  async () => {
    const before = openFds();
    {
      await using manager = new FakeManager({ max: 64 });
      const port = await freePort();
      manager.config("game.toml", berth({ game: [`udp://127.0.0.1:${port}`] }));
      const script = copyFixture(manager.folder, "rebind.py");
      await manager.start();
      await using server = run(manager, "game", ["python3", "-u", script, String(port)]);
      const bind = (times: number): unknown => server.child.stdin?.write("\n".repeat(times));
      bind(1);
      const [held] = await server.said(1);
      expect(inodesAt("udp", port)).toEqual([held]);

      await manager.end();
      bind(1);
      await manager.start();
      await server.said(2);

      // More than 200 a second: from then on each waits for 20 ms, received and unanswered.
      bind(2000);
      for (let round = 0; round < 4; round++) {
        await server.said(server.lines.length + 250);
        await manager.end();
        await manager.start();
      }
      expect(new Set(server.lines)).toEqual(new Set([held]));
      expect(manager.names.filter((name) => name.startsWith("binds."))).toHaveLength(2);
      await server.kill();
      await expect
        .poll(() => manager.names.filter((name) => !name.startsWith("socket.") && !name.startsWith("control.")))
        .toEqual([]);
    }
    expect(await fdsAgain(before)).toEqual(before);
  },
  60_000,
);
