/**
 * `drain = "refuse"` of real game servers by UDP that know nothing of it: who joins is told, those who play go on, and
 * the server answers what comes before a join.
 */
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { berth, Player, run } from "../bind/harness.ts";
import { needsGroups } from "../support/bpf.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { tell } from "../support/counts.ts";
import { lastJoins } from "../support/doorman/last-joins.ts";
import { call, drain } from "../support/drain-calls.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { writeEmptyGame } from "../support/quake.ts";
import { Tee } from "../support/teeworlds.ts";

const NEWCOMERS = 5;
const refusing = (type: string, folder: TestFolder): string =>
  `drain = "refuse"\nquery = { type = "${type}" }\ninherit-environment = true\nenvironment = { HOME = "${folder.path}" }`;

test("a player of Teeworlds goes on while others are told when the server restarts", {
  ...needs("root", "teeworlds-server"),
  ...needsGroups(),
  timeout: 120_000,
}, async ({ task }) => {
  const [port, econ] = [await freePort(), await freePort()];
  using folder = new TestFolder({
    "tw.cfg": `sv_port ${port}\nbindaddr 127.0.0.1\nsv_register 0\nec_port ${econ}\nec_bindaddr 127.0.0.1\nec_password secret\n`,
  });
  chmodSync(folder.path, 0o777);
  const sockets = { game: [`udp://127.0.0.1:${port}`], econ: [`tcp://127.0.0.1:${econ}`] };
  await using broker = await spawnBroker({ "game.toml": berth(sockets, refusing("teeworlds", folder)) });
  await using _ = run(broker, "game", [pathOf("teeworlds-server"), "-f", "tw.cfg"], { cwd: folder.path });
  using player = new Tee(port, "first");
  await player.joined();
  const console = connect(econ, "127.0.0.1");
  await once(console, "connect");
  console.write("secret\n");
  const hears = async (text: string): Promise<void> => {
    const say = (): readonly string[] => {
      console.write(`say ${text}\n`);
      return player.fate.told;
    };
    await expect.poll(say, { timeout: 60_000 }).toContain(text);
  };
  await hears("before");
  expect(await drain(broker.socket, 600)).toMatchObject({ joins: "refuse" });
  for (let times = 0; times < NEWCOMERS; times++) {
    using newcomer = new Tee(port, `late ${times}`);
    await expect(newcomer.joined()).rejects.toThrow("the server ended the game: This server restarts in 10 minutes");
  }
  await hears("meanwhile");
  await call(broker.socket, "CancelDrain");
  using next = new Tee(port, "second");
  await next.joined();
  await hears("afterwards");
  expect(player.fate).toMatchObject({ refused: 0, closed: undefined });
  console.destroy();
  tell(task, { "told by a closed connection": NEWCOMERS, "players who went on": 1, "joined after the cancel": 1 });
});

test("who connects to Quake III gets a challenge of the server's, and is told", {
  ...needs("root", "ioq3ded"),
  ...needsGroups(),
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  using folder = new TestFolder();
  writeEmptyGame(folder);
  writeFileSync(join(folder.path, "q3key"), "");
  chmodSync(folder.path, 0o777);
  const sockets = { game: [`udp://127.0.0.1:${port}`] };
  await using broker = await spawnBroker({ "game.toml": berth(sockets, refusing("quake3", folder)) });
  const set = { fs_basepath: folder.path, com_basegame: "empty", sv_pure: "0", dedicated: "1", vm_game: "0" };
  const variables = Object.entries({ ...set, net_enabled: "1", net_ip: "127.0.0.1", net_port: `${port}` });
  const words = [pathOf("ioq3ded"), ...variables.flatMap(([name, value]) => ["+set", name, value]), "+map", "empty"];
  await using _ = run(broker, "game", words);
  using newcomer = new Player(port);
  const outside = (text: string): Buffer => Buffer.from(`\xff\xff\xff\xff${text}`, "latin1");
  const ask = async (question: Buffer, answer: string): Promise<string> => {
    const isMeant = (one: Buffer): boolean => one.includes(answer);
    return (await newcomer.ask(question, isMeant)).toString("latin1");
  };
  await ask(outside("getstatus\n"), "statusResponse");
  expect(await drain(broker.socket)).toMatchObject({ joins: "refuse" });
  await ask(outside("getchallenge 7 Quake3Arena"), "challengeResponse");
  const { bytes } = lastJoins["Quake III"] ?? expect.unreachable();
  expect(await ask(bytes, "print")).toBe("\xff\xff\xff\xffprint\nThis server restarts once nobody plays\n");
  await ask(outside("getstatus\n"), "statusResponse");
});
