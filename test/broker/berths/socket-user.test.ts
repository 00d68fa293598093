import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { socketUser } from "../../../src/broker/berths/socket-user.ts";
import { berth as configured } from "../../config/fixture.ts";
import { spawnBroker, startBroker, type TestBroker } from "../../support/broker.ts";
import { needs, pathOf } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

const [ROOT, DAEMON, NOBODY] = [0, 1, 65534];
/** Of the fixture's users. */
const [GAMES, BOB] = [60, 1001];
const daemon = { uid: DAEMON, gid: 1 };
const nobody = { uid: NOBODY, gid: NOBODY };

/** Whose the sockets at a UDP port are: what `ss -e` shows and rules by uid compare. */
function usersAt(port: number): number[] {
  const rows = readFileSync("/proc/net/udp", "utf8").split("\n").slice(1);
  const columns = rows.map((row) => row.trim().split(/\s+/));
  const at = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return columns.filter(([, local = ""]) => local.endsWith(at)).map((row) => Number(row[7]));
}

describe("the user of a berth's sockets is", () => {
  const user = (text: string, holder?: number, range?: { base: number; count: number }): number =>
    socketUser(
      {
        spec: configured({ "etc/a.toml": text }),
        range,
        lease: holder === undefined ? undefined : { tenant: { uid: holder } },
      },
      ROOT,
    );

  it.each([
    ["the server's, started by root", '[server]\nuser = "games"\n', ROOT, GAMES],
    ["the server's, while it is vacant", '[server]\nuser = "games"\n', undefined, GAMES],
    ["the tenant's, whoever it is", '[server]\nuser = "games"\n', BOB, BOB],
    ["the only user that may take it, while it is vacant", '[tenant]\nusers = ["arena-bob"]\n', undefined, BOB],
    ["the broker's, where several may take it", '[tenant]\nusers = ["arena-bob", "games"]\n', undefined, ROOT],
    ["the broker's, where others may too", '[tenant]\nusers = ["arena-bob"]\ngroups = ["players"]\n', undefined, ROOT],
    ["root's, whose server has no user", '[tenant]\nusers = ["arena-bob"]\n', ROOT, ROOT],
  ])("%s", (_, text, holder, uid) => {
    expect(user(`[sockets.game]\nlisten = ["udp://127.0.0.1:2"]\n${text}`, holder)).toBe(uid);
  });

  it("the id of the range that the server runs as", () => {
    const text = `[sockets.game]\nlisten = ["udp://127.0.0.1:2"]\n[root]\nimage = "/"\n[server]\nuser = "range"\n`;
    expect(user(text, ROOT, { base: 524_288, count: 65_536 })).toBe(524_288);
  });
});

describe("firewall rules by uid see the server, not the broker (needs root)", needs("root"), () => {
  const berth = (port: number, listen = 1, more = ""): Record<string, string> => ({
    "arena.toml": `[sockets.game]\nlisten = ${JSON.stringify(Array(listen).fill(`udp://127.0.0.1:${port}`))}\n${more}
      [tenant]\nusers = ["daemon", "nobody"]\n`,
  });

  async function released(test: TestBroker, puppet: Puppet): Promise<void> {
    await puppet.kill();
    await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
  }

  it("from the lease's begin to its end, and in each lease another", async () => {
    const port = await freePort();
    await using test = await startBroker(berth(port));
    expect(usersAt(port)).toEqual([ROOT]);
    for (const who of [daemon, nobody]) {
      await using puppet = await Puppet.connect(test.socket, who);
      await puppet.acquire("arena");
      expect(usersAt(port)).toEqual([who.uid]);
      await released(test, puppet);
      expect(usersAt(port)).toEqual([ROOT]);
    }
  });

  it("after a handover the newcomer's, not before", async () => {
    const port = await freePort();
    await using test = await startBroker(berth(port));
    await using first = await Puppet.connect(test.socket, daemon);
    await first.acquire("arena");
    await using second = await Puppet.connect(test.socket, nobody);
    const lease = await second.acquire("arena", "try");
    expect(usersAt(port)).toEqual([DAEMON]);
    await second.call("Ready", { lease });
    expect(usersAt(port)).toEqual([NOBODY]);
  });

  it("also of a socket that had to be opened again", async () => {
    const port = await freePort();
    await using test = await startBroker({
      "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\nuser = "nobody"\n[tenant]\nusers = ["nobody"]`,
    });
    await using puppet = await Puppet.connect(test.socket, nobody);
    await puppet.acquire("arena");
    await puppet.do("s = held(b.fds[0]); s.connect(('127.0.0.1', 9)); s.shutdown(2)");
    await released(test, puppet);
    await expect.poll(() => test.log.map(({ message }) => message).join()).toContain("it was opened again");
    expect(usersAt(port)).toEqual([NOBODY]);
  });

  it("a server's own sockets with SO_REUSEPORT may be bound beside the berth's", async () => {
    const port = await freePort();
    await using test = await startBroker(berth(port, 2, "reuse-port = true"));
    await using puppet = await Puppet.connect(test.socket, nobody);
    await puppet.acquire("arena");
    const bind = `s = socket.socket(2, 2); s.setsockopt(1, 15, 1); s.bind(('127.0.0.1', ${port})); s.close()`;
    await puppet.do(bind);
    await using other = await Puppet.connect(test.socket, daemon);
    await expect(other.do(bind)).rejects.toThrow("Address already in use");
    // A reload opens a third one beside those two.
    test.folder.write({ "config/arena.toml": berth(port, 3, "reuse-port = true")["arena.toml"] ?? "" });
    test.broker.reload();
    expect(usersAt(port)).toEqual([NOBODY, NOBODY, NOBODY]);
  });

  it("where the broker may not, the socket stays the broker's, and the berth is served", needs("setpriv"), async () => {
    const port = await freePort();
    const weak = [pathOf("setpriv"), "--bounding-set=-chown"];
    await using broker = await spawnBroker(berth(port), [], weak);
    await using puppet = await Puppet.connect(broker.socket, nobody);
    await puppet.acquire("arena");
    expect(usersAt(port)).toEqual([ROOT]);
  });
});
