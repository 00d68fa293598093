/** Debian's game servers understand the doorman's questions: nobody plays on them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, expect, test, vi } from "vitest";
import * as codecs from "../../packages/doorman/src/index.ts";
import { connectLines } from "../../src/broker/demand/doorman/lines.ts";
import { startInquiry } from "../../src/doorman/inquirer.ts";
import type { AskOrder } from "../../src/doorman/interfaces/messages.ts";
import { native as sys } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { PATIENCE } from "../support/doorman/doors.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { writeEmptyGame } from "../support/quake.ts";

leaksNothing("soon");

const folder = new TestFolder({});
afterAll(() => folder[Symbol.dispose]());

async function end(server: ChildProcess): Promise<void> {
  const closed = once(server, "close");
  server.kill("SIGKILL");
  await closed;
}

/** Runs a server, and asks it until it answers: it loads at first. */
async function playersOn(asleep: AskOrder["asleep"], port: number, command: readonly string[]): Promise<number> {
  const [program = "", ...words] = command;
  const server = spawn(program, words, { cwd: folder.path, stdio: "ignore", env: { HOME: folder.path } });
  try {
    return await vi.waitFor(async () => {
      expect(server.exitCode).toBeNull();
      const listening = { kind: "datagram", address: { family: "ipv4", host: "127.0.0.1", port } } as const;
      const { fds, ...lines } = connectLines([listening], false, sys);
      const players = await new Promise<number | undefined>((onAnswer) =>
        startInquiry({ ask: 1, asleep, ...lines }, fds, { sys, codecs, nonce: 0x1234abcd, onAnswer }),
      );
      expect(players).toBeDefined();
      return players ?? -1;
    }, PATIENCE);
  } finally {
    await end(server);
  }
}

test("Quake III", { ...needs("ioq3ded"), timeout: 90_000 }, async () => {
  writeEmptyGame(folder);
  const port = await freePort();
  const set = { fs_basepath: folder.path, com_basegame: "empty", sv_pure: "0", dedicated: "1", vm_game: "0" };
  const variables = Object.entries({ ...set, net_enabled: "1", net_ip: "127.0.0.1", net_port: String(port) });
  const words = variables.flatMap(([name, value]) => ["+set", name, value]);
  expect(await playersOn("quake3", port, [pathOf("ioq3ded"), ...words, "+map", "empty"])).toBe(0);
});

test("Teeworlds 0.7", { ...needs("teeworlds-server"), timeout: 90_000 }, async () => {
  const port = await freePort();
  folder.write({ "tw.cfg": `sv_port ${port}\nbindaddr 127.0.0.1\nsv_register 0\n` });
  expect(await playersOn("teeworlds", port, [pathOf("teeworlds-server"), "-f", "tw.cfg"])).toBe(0);
});
