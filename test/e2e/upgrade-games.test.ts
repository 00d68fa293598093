/**
 * `berth upgrade` of real game servers that know nothing of any of this, while players connect at all times: BZFlag and
 * Teeworlds. A player of Teeworlds is told before the server ends.
 */
import { createSocket } from "node:dgram";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { endServers, withoutSystemd } from "../cli/support.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { bzflagBerth, knock, type Tally } from "../support/bzflag.ts";
import { tell } from "../support/counts.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { Tee } from "../support/teeworlds.ts";

/** Clients that connect one after another, or ask one question after another, of each server. */
const CROWD = 4;
const PAUSE_MS = 5;

/** Asks Teeworlds for a token, as every client does before it joins. */
async function hail(port: number, tally: Tally, end: AbortSignal): Promise<void> {
  const hello = Buffer.concat([Buffer.from("040000ffffffff05", "hex"), Buffer.from("bert"), Buffer.alloc(512)]);
  const socket = createSocket("udp4");
  socket.on("message", () => tally.answered++);
  // A connected socket hears that nobody has the port.
  socket.on("error", () => tally.refused++);
  await new Promise<void>((resolve) => socket.connect(port, "127.0.0.1", resolve));
  for (; !end.aborted; await pause(PAUSE_MS)) {
    tally.connects++;
    socket.send(hello, () => undefined);
  }
  socket.close();
}

const noCounts = (): Tally => ({ connects: 0, refused: 0, answered: 0, cut: 0 });

/** The server's console is econ: docs/drain.md. */
const teeworlds = (econ: number): string => `exec 3<&0
{ exec 4<>/dev/tcp/127.0.0.1/${econ}; echo secret >&4; exec cat <&3 >&4; } &
exec ${pathOf("teeworlds-server")} -f tw.cfg
`;

test("players of BZFlag and Teeworlds are never refused through upgrades, and are told", {
  ...needs("root", "unshare", "bzfs", "teeworlds-server"),
  timeout: 180_000,
}, async ({ task }) => {
  const [tanks, tees, econ] = [await freePort(), await freePort(), await freePort()];
  using folder = new TestFolder({
    "run.sh": teeworlds(econ),
    "tw.cfg": [
      `sv_port ${tees}\nbindaddr 127.0.0.1\nsv_register 0\nsv_name berthd-test`,
      `ec_port ${econ}\nec_bindaddr 127.0.0.1\nec_password secret\n`,
    ].join("\n"),
  });
  chmodSync(folder.path, 0o777);
  const home = `directory = "${folder.path}"\nenvironment = { HOME = "${folder.path}" }\nuser = "nobody"\n`;
  await using broker = await spawnBroker(
    {
      // At SIGTERM it would shut its listening socket down (docs/drain.md). SIGHUP just ends it.
      "tanks.toml": bzflagBerth(tanks, folder.path, 'stop-signal = "SIGHUP"'),
      "tees.toml": `[sockets.game]
        listen = ["udp://127.0.0.1:${tees}"]
        [sockets.econ]
        listen = ["tcp://127.0.0.1:${econ}"]
        [server]
        command = ["/bin/bash", "${join(folder.path, "run.sh")}"]
        deliver = ["bind"]
        console = true
        drain-command = "say This server restarts {when}"
        ${home}`,
    },
    ["--state", join(folder.path, "state")],
  );
  const run = (...words: readonly string[]) => withoutSystemd(words, { BERTHD_SOCKET: broker.socket });
  const [tcp, udp] = [noCounts(), noCounts()];
  const end = new AbortController();
  const crowd: Promise<void>[] = [];
  try {
    expect(await run("start", "tanks", "tees")).toMatchObject({ code: 0, stderr: "" });
    for (let one = 0; one < CROWD; one++) crowd.push(knock(tanks, tcp, end.signal), hail(tees, udp, end.signal));
    using player = new Tee(tees, "berthd");
    await player.joined();
    const drained = await run("upgrade", "--force", "--deadline", "11s", "--max-parallel", "2", "tanks", "tees");
    expect(drained).toMatchObject({ code: 0, stderr: "" });
    const told = ["This server restarts in 11 seconds", "This server restarts in 10 seconds"];
    expect(player.fate).toMatchObject({ told, refused: 0 });
    using next = new Tee(tees, "berthd");
    await next.joined();
    const atOnce = await run("upgrade", "--force", "--now", "--max-parallel", "2", "tanks", "tees");
    expect(atOnce).toMatchObject({ code: 0, stderr: "" });
    expect(next.fate.refused).toBe(0);
    const before = [tcp.answered, udp.answered];
    await expect.poll(() => [tcp.answered > (before[0] ?? 0), udp.answered > (before[1] ?? 0)]).toEqual([true, true]);
  } finally {
    end.abort();
    await Promise.all(crowd);
    await endServers(broker.socket);
  }
  tell(task, {
    "connects to bzfs": tcp.connects,
    refused: tcp.refused,
    answered: tcp.answered,
    "cut by its end": tcp.cut,
    "packets to teeworlds": udp.connects,
    "refused, too": udp.refused,
    "answered, too": udp.answered,
  });
  expect([tcp.refused, udp.refused]).toEqual([0, 0]);
  expect(tcp.answered).toBeGreaterThan(CROWD);
});
