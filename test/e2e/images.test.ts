/**
 * Images and ranges with a broker that uses them: what is held is not removed, and a new version comes with a lease.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { VarlinkClient } from "../../src/varlink/client.ts";
import { berth } from "../cli/support.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { expectFdsAgain, settledFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";

const POOL = { first: 0x6100_0000, last: 0x6101_ffff };

describe("a broker with images (mounts need root)", needs("root"), () => {
  test("gives ranges of --ranges, keeps a version from being removed, and has the new one at the next lease", async () => {
    const before = await settledFds();
    {
      using folder = new TestFolder({ "one/motd": "first\n", "two/motd": "second\n" });
      const state = join(folder.path, "state");
      const here = ["--state", state, "--config", join(folder.path, "none")];
      const load = (tree: string) =>
        berth(["image", "import", "arena", join(folder.path, tree), "--version", tree, "--state", state]);
      expect(await load("one")).toMatchObject({ code: 0 });
      const toml = '[root]\nimage = "arena"\n[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n';
      const pool = `0x${POOL.first.toString(16)}-0x${POOL.last.toString(16)}`;
      await using broker = await spawnBroker({ "arena.toml": toml }, ["--state", state, "--ranges", pool]);
      using peer = await RawPeer.connect(broker.socket);

      const first = (await peer.call("Acquire", { berth: "arena" }))?.parameters;
      expect(first).toMatchObject({ range: { base: POOL.first, count: 65_536 } });
      const root = `/proc/self/fd/${peer.fds.at(-1)?.fd}`;
      expect(readFileSync(join(root, "motd"), "utf8")).toBe("first\n");
      writeFileSync(join(root, "mine"), "kept\n");

      expect(await load("two")).toMatchObject({ code: 0 });
      expect(readFileSync(join(root, "motd"), "utf8")).toBe("first\n");
      using client = await VarlinkClient.connect(broker.socket);
      const listed = async () => (await client.call("io.berthd.Broker.List")).parameters["berths"];
      await expect
        .poll(listed, { timeout: 30_000 })
        .toMatchObject([{ root: { images: ["arena@one"], newer: ["arena@two"] } }]);
      expect((await berth(["ls", "--socket", broker.socket])).stdout.replace(/\s+/g, " ")).toContain(
        "arena: has arena@one; its image is arena@two now; restart it: berth restart arena",
      );
      const refused = await berth(["image", "rm", "arena@one", ...here]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(`(pid ${broker.pid}) holds it for running servers`);
      expect((await berth(["range", "ls", ...here])).stdout).toMatch(new RegExp(`^arena +${POOL.first} `, "m"));

      for (const handle of peer.fds) handle.close();
      await peer.call("Release", { lease: first?.["lease"] });
      const second = (await peer.call("Acquire", { berth: "arena" }))?.parameters;
      expect(second).toMatchObject({ range: { base: POOL.first } });
      const next = `/proc/self/fd/${peer.fds.at(-1)?.fd}`;
      expect(readFileSync(join(next, "motd"), "utf8")).toBe("second\n");
      expect(readFileSync(join(next, "mine"), "utf8")).toBe("kept\n");
      expect(await berth(["image", "rm", "arena@one", ...here])).toMatchObject({ code: 0, stderr: "" });
      expect(existsSync(join(state, "images/arena/one"))).toBe(false);
    }
    await expectFdsAgain(before);
  });
});
