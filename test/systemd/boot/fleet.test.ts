/** docs/fleet.md, followed on two booted machines: the first steps, a set, and rights for each host. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blocks, read, section } from "../../docs/markdown.ts";
import { bootMachine, MACHINE, type Machine, NODE, PACKAGE } from "../../support/machine.ts";
import { plug } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

const page = read("docs/fleet.md");
const [FIRST, SECOND] = ["192.0.2.1", "192.0.2.2"] as const;

/** What the page's `ssh` and `scp` copy between the machines: `scp FILE… root@192.0.2.2:FOLDER` in /etc/berth-fleet. */
const COPY = /^scp (?<files>.+) root@192\.0\.2\.2:(?<folder>\S+)$/;
const REMOTE = /^ssh root@192\.0\.2\.2 (?<command>.+)$/;

const files = {
  "/usr/local/bin/berth-fleet": `#!/bin/sh\nexec ${NODE} ${PACKAGE}/packages/fleet/dist/cli/main.js "$@"\n`,
  // All is installed, and nothing is downloaded.
  "/usr/local/bin/npm": "#!/bin/sh\n",
  "/usr/local/bin/apt-get": "#!/bin/sh\n",
  "/srv/arena/server": "#!/bin/sh\nexec sleep 1000\n",
};

describe("docs/fleet.md", { ...needs(...MACHINE, "etcd", "etcdctl", "openssl"), timeout: 180_000 }, () => {
  let first: Machine;
  let second: Machine;
  /** The page's last `alias fleet=…`. */
  let alias = "";

  beforeAll(async () => {
    first = await bootMachine({ files });
    second = await bootMachine({ files });
    await plug(first, second, [`${FIRST}/24`, `${SECOND}/24`]);
    for (const machine of [first, second]) {
      await machine.sh(
        "chmod 755 /srv/arena/server /usr/local/bin/berth-fleet /usr/local/bin/npm /usr/local/bin/apt-get",
      );
      await machine.sh("berth units install && systemctl daemon-reload && systemctl enable --now berthd.socket");
    }
  }, 180_000);
  afterAll(async () => {
    await first?.[Symbol.asyncDispose]();
    await second?.[Symbol.asyncDispose]();
  });

  /** Runs a block on the first host, and on the second one if its first line says how; what the first one printed. */
  async function follow(block: string): Promise<string> {
    alias = /^alias fleet=.*$/m.exec(block)?.[0] ?? alias;
    const lines = block.split("\n");
    const isHere = (line: string): boolean => !(COPY.test(line) || REMOTE.test(line));
    const printed = await first.sh(`shopt -s expand_aliases\n${lines.filter(isHere).join("\n")}`);
    for (const line of lines) {
      const command = REMOTE.exec(line)?.groups?.["command"];
      if (command !== undefined) await second.sh(command);
      const { files: names, folder = "" } = COPY.exec(line)?.groups ?? {};
      for (const name of names?.split(" ") ?? [])
        second.write({ [`${folder}${name}`]: first.read(`/etc/berth-fleet/${name}`) });
    }
    const [, there] = /^name=.*# on the second host: (.*)$/.exec(lines[0] ?? "") ?? [];
    if (there !== undefined) await second.sh([there, ...lines.slice(1)].join("\n"));
    return printed;
  }

  async function followAll(heading: string): Promise<string> {
    let printed = "";
    const steps = blocks(section(page, heading), "sh");
    expect(steps.length).toBeGreaterThan(0);
    for (const step of steps) printed = await follow(step);
    return printed;
  }

  const fleet = (line: string): Promise<string> => first.sh(`shopt -s expand_aliases\n${alias}\n${line}`);
  const bothServe = async (): Promise<boolean> =>
    /^h1 +present +2 .*\nh2 +present +2 /m.test(await fleet("fleet ls hosts"));
  /** The servers of a machine. */
  const servers = async (machine: Machine): Promise<string[]> =>
    (await machine.ok(["berth", "ls"])).match(/^arena-\d +occupied +\d+ +games /gm) ?? [];

  test("from one host to two", async () => {
    await followAll("## From one host to two");
    await first.waitFor("both hosts", async () =>
      /^HOST .*\nh1 +present +0 .*\nh2 +present +0 /.test(await fleet("fleet ls hosts")),
    );
  });

  test("a set is placed and removed as the page shows it", async () => {
    const chapter = section(page, "## Place berths");
    await followAll("## Place berths");
    const [, shown = ""] = /^```\n(\$ fleet apply[\s\S]*?)^```$/m.exec(chapter) ?? [];
    const [applied = "", listed = "", removed = "", ...more] = shown.split(/^\$ /m).slice(1);
    expect(more).toEqual([]);
    const linesOf = (part: string): string[] =>
      part
        .trimEnd()
        .split("\n")
        .slice(1)
        .filter((line) => line !== "…");
    const printed = (await fleet("fleet apply arena.toml")).split("\n");
    expect(linesOf(applied)).toHaveLength(4);
    for (const line of linesOf(applied)) expect(printed).toContain(line);
    expect(linesOf(listed)).toHaveLength(3);
    await first.waitFor("the servers", async () => {
      const rows = (await fleet("fleet ls")).split("\n");
      return linesOf(listed).every((line) => rows.includes(line));
    });
    expect(await fleet("fleet allocate arena")).toMatch(/^arena-\d game=192\.0\.2\.[12]:2700[01]\n$/);
    expect(await first.sh(`berth fleet ls sets ${alias.slice(alias.indexOf("--"), -1)}`)).toMatch(/^arena +4 of 4 /m);
    expect(removed).toBe("fleet rm arena\n");
    expect(await fleet(removed)).toContain("arena-4: removed from h2\n");
  });

  test("agents get rights for their own host, and servers go on meanwhile", async () => {
    await fleet("fleet apply arena.toml");
    await first.waitFor("the servers", async () =>
      (await Promise.all([first, second].map(servers))).every((one) => one.length === 2),
    );
    const before = await Promise.all([first, second].map(servers));
    const steps = blocks(section(page, "## Rights for each host"), "sh");
    const untilStolen = steps.slice(
      0,
      steps.findIndex((step) => step.includes("etcdctl user delete")),
    );
    expect(untilStolen).toHaveLength(5);
    for (const step of untilStolen) await follow(step);
    await first.waitFor("both hosts with their rights", bothServe);
    expect(await Promise.all([first, second].map(servers))).toEqual(before);
    // systemctl restart does not wait for the agent's end in vain.
    for (const one of [first, second]) expect(await one.journal("berth-fleet")).not.toContain("timed out");
    expect(await first.show("berth-replace", "ActiveState")).toEqual({ ActiveState: "active" });

    await second.sh("systemctl kill --signal=KILL berth-fleet && systemctl stop berth-fleet");
    await first.waitFor("the berths of the lost host", async () => (await servers(first)).length === 4);

    // The same host, as if it was stolen.
    const [variables = ""] = /^export [\s\S]*?ETCDCTL_KEY.*$/m.exec(untilStolen[2] ?? "") ?? [];
    const [stolen = "", full = "", ...more] = steps.slice(untilStolen.length);
    expect(more).toEqual([]);
    await first.sh(`${variables}\n${stolen.replaceAll("h1", "h2")}`);
    expect(await first.sh(`${variables}\n${full.replaceAll("h1", "h2")}`)).toMatch(/^compacted revision \d+$/m);
    expect(await fleet("fleet ls hosts")).not.toMatch(/^h2 +present/m);
  });
});
