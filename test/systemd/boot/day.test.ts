/** docs/day.md, followed on a booted machine: under systemd, without it as root, and without it as an ordinary user. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blocks, read, section } from "../../docs/markdown.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

const page = read("docs/day.md");

/** Writes down each start in its root, with the version of its image, and does what is typed. */
const SERVER = 'cat {root}/version >>{root}/starts; cat {root}/starts; while read -r line; do echo "did $line"; done';
const arena = (user: string): string => `[sockets.game]
listen = ["udp://127.0.0.1:27960"]
[root]
image = "arena"
[server]
command = ["/bin/sh", "-c", ${JSON.stringify(SERVER)}]
console = true
${user}`;

/** Another server, which must not notice anything: it answers each line with how many it has read. */
const LOBBY = `[sockets.chat]
listen = ["tcp://127.0.0.1:4000"]
[server]
command = ["socat", "TCP4-LISTEN:4000,bind=127.0.0.1,fork", "PIPE"]
deliver = ["bind"]
user = "nobody"
`;

describe("an operator's day", needs(...MACHINE, "socat"), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      files: {
        "/etc/berthd/arena.toml": arena('user = "range"\n'),
        "/srv/day/arena-1/version": "one\n",
        "/srv/day/arena-2/version": "two\n",
      },
    });
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const steps = (heading: string): string[] => {
    const found = blocks(section(page, heading), "sh");
    expect(found.length).toBeGreaterThan(0);
    return found;
  };
  /** What servers wrote, their logs, and processes of berthd that are left behind. */
  const leftovers = async (state = "/var/lib/berthd"): Promise<string> => {
    const files = await machine.run(["find", `${state}/roots`, `${state}/logs`, "-mindepth", "1"]);
    const processes = await machine.run(["pgrep", "-a", "-f", "berthd.js|berth-launch|berth-console|berth-log"]);
    return files.stdout + processes.stdout;
  };

  test("under systemd: every block works, and another server's player notices nothing", async () => {
    machine.write({ "/etc/berthd/lobby.toml": LOBBY });
    await machine.sh("berth units install && systemctl daemon-reload && systemctl enable --now berthd.socket");
    await machine.sh("berth image import arena /srv/day/arena-1 --version 1 && berth start arena lobby");
    const player = machine.spawn(["socat", "STDIO", "TCP:127.0.0.1:4000"]);
    let heard = "";
    player.stdout?.setEncoding("utf8").on("data", (part: string) => (heard += part));
    const says = async (word: string): Promise<void> => {
      player.stdin?.write(`${word}\n`);
      await machine.waitFor(`the lobby to answer ${word}`, () => heard.includes(`${word}\n`));
    };
    await says("before");
    const lobby = (await machine.show("berth@lobby", "MainPID"))["MainPID"];
    const printed: string[] = [];
    const starts: string[] = [];
    for (const step of steps("## Under systemd")) {
      printed.push(await machine.sh(`cd /srv/day\n${step}`));
      const { stdout } = await machine.run(["cat", "/var/lib/berthd/roots/arena/upper/starts"]);
      starts.push(stdout.trim().replaceAll("\n", " "));
      await says(`after step ${printed.length}`);
    }
    const [looked, changed, typed, upgraded, kept, drained, removed, ...more] = printed;
    expect(more).toEqual([]);
    expect(looked).toMatch(/^arena +occupied .*game=udp:\/\/127\.0\.0\.1:27960/m);
    expect(looked).toMatch(/ arena\[\d+\]: one$/m);
    expect(changed).toMatch(/outdated/);
    expect(typed).toContain("did save-all");
    expect(upgraded).toMatch(/imported arena@2/);
    expect(kept).toMatch(/^arena: saved .*\narena: restored /);
    expect(drained).toMatch(/^arena: .*nobody plays.*\narena: .*goes on/);
    expect(removed).toMatch(/^arena: stopped pid \d+ .*\narena: /);
    // Which version each start has seen. What the start between backup and restore had written is gone again.
    expect(starts).toEqual([
      "one",
      "one one",
      "one one",
      "one one two one",
      "one one two one one",
      "one one two one one",
      "",
    ]);
    expect((await machine.show("berth@lobby", "MainPID"))["MainPID"]).toBe(lobby);
    player.kill("SIGKILL");
    await machine.sh("berth stop lobby && berth rm --yes lobby");
    await machine.sh("systemctl disable --now berthd.socket berthd.service && berth units remove && rm /srv/day/*.tar");
    expect(await leftovers()).toBe("");
  }, 120_000);

  const USERS = [
    { who: "root", home: "/root", config: "/etc/berthd", state: "/var/lib/berthd", user: 'user = "range"\n' },
    {
      ...{ who: "player", home: "/home/player", config: "/home/player/.config/berthd" },
      ...{ state: "/home/player/.local/state/berthd", user: "" },
    },
  ];

  test.each(USERS)(
    "without systemd, as $who: every block works, and nothing is left",
    async ({ who, home, config, state, user }) => {
      if (who === "player") {
        // The machine's / is an overlay, and an overlay cannot be on top of another one for writing.
        await machine.sh(`useradd --uid 7000 --home ${home} player && mkdir ${home} && mount -t tmpfs tmpfs ${home}`);
      }
      await machine.sh(
        `rm -rf /srv/day/*.tar /etc/berthd; rm -rf /var/lib/berthd/images; mkdir -p ${config} ${home}/day /run/own && chown ${who}: /run/own`,
      );
      await machine.sh(`cp -r /srv/day/arena-* ${home}/day && chown -R ${who}: ${home}/day`);
      machine.write({ [`${config}/arena.toml`]: arena(user) });
      if (who !== "root") await machine.sh(`chown -R ${who}: ${home}`);
      // What sd_booted(3) looks for, and the user's manager, are hidden.
      const script = [
        "mount -t tmpfs none /run/systemd",
        `exec setpriv --reuid ${who} --regid ${who} --init-groups env HOME=${home} XDG_RUNTIME_DIR=/run/own bash -euc "$0"`,
      ];
      const day = [`cd ${home}/day`, "berth image import arena arena-1 --version 1", ...steps("## Without systemd")];
      const command = ["unshare", "--mount", "bash", "-euc", script.join("\n"), day.join("\n")];
      const printed = await machine.ok(command, { timeout: 90_000 });
      expect(printed).toMatch(/^arena: saved /m);
      expect(printed).toMatch(/^arena: restored /m);
      expect(printed).toContain("did save-all");
      // The log: what the first server saw, what was typed, and what the second one saw.
      const logged = Array.from(printed.matchAll(/ server\[\d+\]: (.*)$/gm), ([, line]) => line);
      expect(logged).toEqual(["one", "save-all", "did save-all", "one", "two"]);
      expect(await leftovers(state)).toBe("");
    },
    120_000,
  );
});
