/** The package as it is published: compiled, found by its name, and the program of its README run as it stands. */
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { GameDig, games } from "gamedig";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { blocks, read } from "../docs/markdown.ts";
import { TestFolder } from "../support/broker.ts";
import { freePort } from "../support/ports.ts";

it("the program of the README answers a query, and ends when a player joins", { timeout: 120_000 }, async () => {
  const [code = ""] = blocks(read("packages/doorman/README.md"), "js");
  const port = await freePort();
  expect(code).toContain("bind(27960)");
  const [, type = ""] = /gamedig --type (\S+) 127/.exec(read("packages/doorman/README.md")) ?? [];
  expect(Object.keys(games)).toContain(type);
  using folder = new TestFolder({ "sleeping.mjs": code.replace("27960", `${port}, "127.0.0.1"`) });
  const installed = join(folder.path, "node_modules/berthd-doorman");
  mkdirSync(installed, { recursive: true });
  copyFileSync(join(packageRoot, "packages/doorman/package.json"), join(installed, "package.json"));
  const tsc = join(packageRoot, "node_modules/typescript/bin/tsc");
  const project = join(packageRoot, "packages/doorman/tsconfig.json");
  execFileSync(process.execPath, [tsc, "-p", project, "--outDir", join(installed, "dist")], { stdio: "pipe" });

  const program = spawn(process.execPath, ["sleeping.mjs"], { cwd: folder.path, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const ended = once(program, "exit");
    const said = text(program.stdout);
    const patience = { maxRetries: 60, socketTimeout: 1000, attemptTimeout: 2000 }; // until it has started
    const options = { type, host: "127.0.0.1", port, givenPortOnly: true, requestPlayers: false };
    expect(await GameDig.query({ ...options, ...patience })).toMatchObject({ name: "Frozen Lake", map: "q3dm17" });

    const player = createSocket("udp4");
    player.send(Buffer.from("\xff\xff\xff\xffgetchallenge", "latin1"), port, "127.0.0.1");
    expect(await ended).toEqual([0, null]);
    expect(await said).toBe("127.0.0.1 joins\n");
    player.close();
  } finally {
    program.kill();
  }
});
