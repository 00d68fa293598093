/**
 * A broker is restarted with a typo in one berth and a busy port in another. It says so once, and writes nothing more
 * however long that lasts: on this machine's systemd and on a newer one. BERTHD_QUIET_SECONDS is how long the test
 * listens; every night it is ten minutes. On systemd 252 the broker then wrote 6 lines.
 */
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BOOTABLE, DEBIAN, DEBIAN_TIMEOUT, debianTree } from "../../support/debian-tree.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

/** The broker tries a busy port again after 1, 3 and 7 seconds, and at last once a minute (recovery.test.ts). */
const SECONDS = Number(process.env["BERTHD_QUIET_SECONDS"] ?? 8);
/** A launcher that waits asks again at least so often. */
const LONGEST_WAIT_MS = 30_000;

const tcp = (port: number, more = ""): string =>
  `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n${more}[server]\nuser = "nobody"\ncommand = ["sleep", "1000"]\n`;

describe.concurrent.each([
  ["252 or what this machine has", MACHINE, undefined],
  ["257", [...MACHINE, ...DEBIAN], BOOTABLE],
] as const)("systemd %s", (_, programs, tree) => {
  describe("with a typo and a busy port", needs(...programs), () => {
    let machine: Machine;
    beforeAll(async () => {
      machine = await bootMachine({
        ...(tree !== undefined && { tree: debianTree(tree) }),
        files: {
          "/etc/berthd/busy.toml": tcp(7302),
          "/etc/berthd/good.toml": tcp(7300),
          "/etc/berthd/typo.toml": tcp(7301),
          // Not the broker's: another service that got the port first.
          "/etc/systemd/system/rival.socket": "[Socket]\nListenStream=127.0.0.1:7302\n",
          "/etc/systemd/system/rival.service": "[Service]\nExecStart=sleep 1000\n",
        },
      });
      await machine.sh("berth units install && systemctl daemon-reload && systemctl start berthd.socket && berth ls");
    }, DEBIAN_TIMEOUT + 90_000);
    afterAll(async () => {
      await machine?.[Symbol.asyncDispose]();
    });

    const lines = async (unit: string): Promise<string[]> => {
      await machine.journalIsWhole();
      const text = await machine.ok(["journalctl", "--no-pager", "--quiet", "-o", "cat", "-u", unit]);
      return text.split("\n").slice(0, -1);
    };

    test(
      "the others serve, and the broker writes fewer than 20 lines, none of them twice",
      async () => {
        await machine.ok(["systemctl", "start", "berth@good"]);
        await machine.waitFor("its server", async () => /^good +occupied /m.test(await machine.ok(["berth", "ls"])));
        await machine.sh("systemctl stop berthd; systemctl start rival.socket");
        machine.write({ "/etc/berthd/typo.toml": tcp(7301, "baklog = 3\n") });
        const before = await lines("berthd");
        await machine.ok(["systemctl", "restart", "berthd"]);
        expect(await machine.ok(["berth", "ls"])).toMatch(/^busy +problem .*\ngood +occupied .*\ntypo +problem /m);
        const known = (await lines("berthd")).slice(before.length);
        // A server of a berth with a problem waits, and says why once.
        await machine.ok(["systemctl", "start", "berth@typo"]);
        await setTimeout(SECONDS * 1000);
        const said = (await lines("berthd")).slice(before.length);
        expect(said).toEqual(known);
        expect(said.length).toBeLessThan(20);
        expect(new Set(said).size).toBe(said.length);
        expect(said.filter((line) => line.includes("baklog"))).toHaveLength(1);
        expect(said.filter((line) => line.includes("7302"))).toHaveLength(1);
        expect(await machine.show("berthd", "NRestarts")).toEqual({ NRestarts: "0" });

        const ofUnit = await lines("berth@typo");
        process.stdout.write(`${SECONDS} s: berthd wrote ${said.length} lines, berth@typo ${ofUnit.length}\n`);
        expect(ofUnit.filter((line) => line.includes("baklog"))).toEqual([
          expect.stringMatching(/^berth-launch: .*; waiting until it has none$/),
        ]);
        expect(said.length + ofUnit.length).toBeLessThan(20);
        expect(await machine.show("berth@typo", "NRestarts", "StatusText")).toEqual({
          NRestarts: "0",
          StatusText: expect.stringMatching(/^waiting: .*baklog/),
        });
        machine.write({ "/etc/berthd/typo.toml": tcp(7301) });
        await machine.ok(["systemctl", "reload", "berthd"]);
        await machine.waitFor(
          "the server that waited",
          async () => /^typo +occupied /m.test(await machine.ok(["berth", "ls"])),
          LONGEST_WAIT_MS + 10_000,
        );

        const settled = (await lines("berthd")).length;
        await machine.ok(["systemctl", "stop", "rival.socket"]);
        await machine.waitFor(
          "the port",
          async () => /^busy +vacant /m.test(await machine.ok(["berth", "ls"])),
          60_000,
        );
        expect((await lines("berthd")).length).toBe(settled + 1);
      },
      SECONDS * 1000 + 120_000,
    );
  });
});
