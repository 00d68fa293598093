/**
 * The Debian package, on a booted Debian with its own Node: built by a user without privilege, installed, used,
 * upgraded under a player, removed, and purged.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../../src/native.ts";
import { blocks, read } from "../../docs/markdown.ts";
import { TestFolder } from "../../support/broker.ts";
import { BOOTABLE, DEBIAN, DEBIAN_TIMEOUT, debianTree } from "../../support/debian-tree.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { inodesAt } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

const run = promisify(execFile);
const NOBODY = 65534;
const { version: VERSION } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };

/** Says who it is, and repeats what it gets. */
const SERVER = `require("net").createServer((s) => {
  s.on("error", () => {}).write(process.pid + "\\n");
  s.pipe(s);
}).listen({ fd: 3 });`;
const BERTH = `[sockets.game]
listen = ["tcp://127.0.0.1:7300"]
[server]
command = ["/usr/bin/node", "-e", ${JSON.stringify(SERVER)}]
user = "games"
`;
const SPARE = '[sockets.game]\nlisten = ["udp://127.0.0.1:7301"]\n';

/** A player who stays: prints the server's greeting, then repeats each line of stdin through the server. */
const PLAYER = 'const s = require("net").connect(7300, "127.0.0.1"); s.pipe(process.stdout); process.stdin.pipe(s);';
/** Players who come one after the other until stdin ends; prints how many came, and each refusal. */
const QUEUE = `let [open, came] = [true, 0];
process.stdin.resume().on("end", () => { open = false; });
const next = () => {
  if (!open) return console.log(came + " came");
  const s = require("net").connect(7300, "127.0.0.1");
  s.once("data", () => { if (came++ === 0) console.log("first"); s.destroy(); next(); });
  s.once("error", (error) => { console.log(error.code); next(); });
};
next();`;

describe("the Debian package", needs(...MACHINE, ...DEBIAN), () => {
  const folder = new TestFolder();
  let machine: Machine;
  let first: { readonly path: string; readonly sha256: string };
  let before: string;

  /** `npm run deb`; the facts that it prints. */
  async function build(
    revision: number,
    options: { readonly uid?: number } = {},
  ): Promise<{ path: string; sha256: string }> {
    const out = join(folder.path, `out-${options.uid ?? 0}`);
    const tmp = join(folder.path, `tmp-${options.uid ?? 0}`);
    for (const one of [out, tmp]) {
      mkdirSync(one, { recursive: true });
      chownSync(one, options.uid ?? 0, options.uid ?? 0);
    }
    const args = ["scripts/deb.mjs", "--json", "--revision", String(revision), "--out", out];
    const env = { ...process.env, TMPDIR: tmp, SOURCE_DATE_EPOCH: "1700000000", BERTHD_SKIP_BUILD: "1" };
    const { stdout } = await run(process.execPath, args, { cwd: packageRoot, env, ...options });
    return JSON.parse(stdout) as { path: string; sha256: string };
  }

  beforeAll(async () => {
    chmodSync(folder.path, 0o755);
    const second = await build(2);
    first = await build(1);
    machine = await bootMachine({
      tree: debianTree(BOOTABLE),
      installed: false,
      files: {
        [`/srv/${basename(first.path)}`]: readFileSync(first.path),
        [`/srv/${basename(second.path)}`]: readFileSync(second.path),
        // Nobody is there to answer.
        "/etc/apt/apt.conf.d/yes": 'APT::Get::Assume-Yes "true";\n',
      },
    });
    before = await everything();
  }, DEBIAN_TIMEOUT + 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** Folders that dpkg, apt, debconf and the journal write to. */
  const OTHERS = ["lib/dpkg", "lib/apt", "cache/apt", "cache/debconf", "log", "tmp"].map(
    (name) => `-path /var/${name}`,
  );

  /** What a package may change: files, users, units, mounts, cgroups. */
  const everything = (): Promise<string> =>
    machine.sh(`find / -xdev \\( -path /root -o -path /tmp -o ${OTHERS.join(" -o ")} \\) -prune -o -print | sort
      find /run /sys/fs/cgroup -iname '*berth*'
      cat /etc/passwd /etc/group
      systemctl list-unit-files --plain --no-legend | grep -i -e berth -e container || true
      cut -d ' ' -f 5 /proc/self/mountinfo
      find /var/lib/dpkg/info /etc/systemd -iname '*berth*'`);

  /** A step of a page. */
  const follow = (page: string, step = 0): Promise<string> => {
    const block = blocks(read(`docs/${page}.md`), "shell")[step];
    if (block === undefined) throw new Error(`${page}.md has no step ${step}`);
    return machine.sh(`cd /srv; export DEBIAN_FRONTEND=noninteractive; { ${block} } 2>&1`);
  };

  test("is the same, byte for byte, when a user without privilege builds it", async () => {
    expect((await build(1, { uid: NOBODY })).sha256).toBe(first.sha256);
  }, 120_000);

  test("installs a broker that listens, and nothing is wrong", async () => {
    expect(await follow("install")).toMatch(/nothing is wrong\n$/);
    expect(await machine.show("berthd.socket", "ActiveState", "UnitFileState")).toEqual({
      ActiveState: "active",
      UnitFileState: "enabled",
    });
    expect(await machine.ok(["berth", "ls", "--names"])).toBe("");
    const { stdout, stderr } = await machine.run([
      "systemd-analyze",
      "verify",
      "--man=no",
      "berthd.service",
      "berth@a.service",
    ]);
    expect([stdout, stderr]).toEqual(["", ""]);
    for (const program of ["berthd", "berth", "berth-launch", "shift-own", "shift-mount"]) {
      expect(await machine.ok([program, "--version"])).toContain(VERSION);
      const bash = `. /usr/share/bash-completion/completions/${program} && complete -p ${program}`;
      expect(await machine.sh(bash)).toMatch(new RegExp(`^complete .* ${program}$`, "m"));
      expect(machine.read(`/usr/share/zsh/vendor-completions/_${program}`)).toMatch(/^#compdef /);
      expect(machine.read(`/usr/share/fish/vendor_completions.d/${program}.fish`)).toContain(`complete -c ${program} `);
    }
    expect(await machine.sh("zcat /usr/share/man/man1/berth.1.gz | head -3")).toContain(".Dt BERTH 1");
    expect(await machine.sh("zcat /usr/share/doc/berthd/changelog.Debian.gz")).toContain(`berthd (${VERSION}-1)`);
    // Not one file that dpkg would miss.
    expect(await machine.ok(["dpkg", "--verify", "berthd"])).toBe("");
  }, 120_000);

  test("serves a berth through systemd", async () => {
    machine.write({ "/etc/berthd/tanks.toml": BERTH, "/etc/berthd/spare.toml": SPARE });
    await machine.sh("berth check && berth reload && berth enable --now tanks");
    const { MainPID } = await machine.show("berth@tanks", "MainPID");
    expect(await machine.ok(["node", "-e", `${PLAYER} s.once("data", () => s.end());`])).toBe(`${MainPID}\n`);
  }, 120_000);

  test("an upgrade keeps the server, its player, and the ports of berths with and without a server", async () => {
    const sockets = async (): Promise<string[][]> => [await inodesAt(machine, 7300), await inodesAt(machine, 7301)];
    const pids = async (): Promise<(string | undefined)[]> =>
      Promise.all(["berthd", "berth@tanks"].map(async (unit) => (await machine.show(unit, "MainPID"))["MainPID"]));
    const [held, [broker, server]] = [await sockets(), await pids()];
    expect(held.map(({ length }) => length)).toEqual([1, 1]);

    const player = machine.spawn(["node", "-e", PLAYER]);
    const queue = machine.spawn(["node", "-e", QUEUE]);
    if (player.stdout === null || queue.stdout === null) throw new Error("no pipe");
    const heard = createInterface(player.stdout)[Symbol.asyncIterator]();
    const told = createInterface(queue.stdout)[Symbol.asyncIterator]();
    expect((await heard.next()).value).toBe(server);
    expect((await told.next()).value).toBe("first");

    expect(await follow("upgrade")).toMatch(/nothing is wrong\n$/);
    queue.stdin?.end();
    expect((await told.next()).value).toMatch(/^\d+ came$/);
    player.stdin?.write("still here\n");
    expect((await heard.next()).value).toBe("still here");
    const ended = once(player, "close");
    player.kill();
    await ended;

    expect(await sockets()).toEqual(held);
    const after = await pids();
    expect(after[1]).toBe(server);
    expect(after[0]).not.toBe(broker);
    expect(await machine.ok(["dpkg-query", "--show", "berthd"])).toBe(`berthd\t${VERSION}-2\n`);
    expect(await machine.ok(["berth", "ls"])).toMatch(
      new RegExp(`^spare +vacant(?:.*\\n)+tanks +occupied +${server} `, "m"),
    );
  }, 120_000);

  test("removal stops servers and broker, and leaves configuration and data", async () => {
    machine.write({ "/var/lib/berthd/roots/arena/upper/world": "a year of play\n" });
    await follow("removal", 0);
    expect(machine.read("/etc/berthd/tanks.toml")).toBe(BERTH);
    expect(machine.read("/var/lib/berthd/roots/arena/upper/world")).toBe("a year of play\n");
    expect((await machine.run(["pgrep", "-a", "-f", "berth|listen.*fd: 3"])).stdout).toBe("");
    expect(await machine.ok(["ss", "-Hlntu", "sport >= :7300 and sport <= :7301"])).toBe("");
    expect(await machine.sh("find /run /sys/fs/cgroup -iname '*berth*'")).toBe("");
    expect(await machine.sh("ls /usr/lib/berthd 2>&1 || true")).toContain("No such file");
  }, 120_000);

  test("installed again, it has the berths of before", async () => {
    await follow("upgrade");
    await machine.ok(["berth", "start", "tanks"]);
    expect(await machine.ok(["berth", "ls"])).toMatch(/^spare +vacant(?:.*\n)+tanks +occupied /m);
  }, 120_000);

  test("a purge keeps what servers have written, unless the operator agrees", async () => {
    expect(await follow("removal", 1)).toContain("stay in /var/lib/berthd; to delete them: rm -r /var/lib/berthd");
    expect(machine.read("/var/lib/berthd/roots/arena/upper/world")).toBe("a year of play\n");
    expect(await machine.sh("ls -d /etc/berthd 2>&1 || true")).toContain("No such file");

    await follow("upgrade");
    expect(await machine.ok(["berth", "ls", "--names"])).toBe("");
    await machine.ok(["debconf-set-selections"], { input: "berthd berthd/purge-data boolean true\n" });
    await follow("removal", 1);
    expect(await everything()).toBe(before);
  }, 120_000);
});
