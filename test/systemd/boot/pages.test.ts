/**
 * The pages for a day with berthd, followed on a booted systemd in the order of a machine's life: install, upgrade,
 * backup and restore, removal; and rootless by an ordinary user.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blocks, read } from "../../docs/markdown.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { ask } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

/** Writes down each start in its root, and which version of its image it sees. */
const SERVER = "cat {root}/version >>{root}/starts; exec sleep 1000";
const ARENA = `[sockets.game]
listen = ["udp://127.0.0.1:27960"]
[root]
image = "arena"
[server]
command = ["/bin/sh", "-c", ${JSON.stringify(SERVER)}]
user = "range"
`;

const UPPER = "/var/lib/berthd/roots/arena/upper";

describe("a machine's life by the pages", needs(...MACHINE, "bzfs", "mkfs.btrfs"), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      files: { "/srv/trees/arena/version": "one\n", "/srv/trees/arena/map": "dm6\n" },
    });
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  function steps(page: string): string[] {
    const found = blocks(read(`docs/${page}.md`), "sh");
    expect(found.length).toBeGreaterThan(0);
    return found;
  }

  const answers = async (): Promise<string> =>
    (await ask(machine, "tcp", 5154, "BZFLAG\r\n\r\n", 9)).toString("latin1").slice(0, 4);

  /** What the server has written: a line for each start. */
  async function starts(count: number): Promise<string[]> {
    return await machine.waitFor(`${count} starts`, async () => {
      const { stdout } = await machine.run(["cat", `${UPPER}/starts`]);
      const lines = stdout.split("\n").slice(0, -1);
      return lines.length === count ? lines : undefined;
    });
  }

  test("README: three commands, and the server answers", async () => {
    const [block = ""] = blocks(read("README.md"), "");
    const [install, ...rest] = block.trimEnd().split("\n");
    expect([install, rest.length]).toEqual(["npm install --global berthd", 2]);
    for (const line of rest) await machine.sh(line);
    // Answered as soon as the broker holds the port.
    await machine.ok(["berth", "ls"]);
    expect(await answers()).toBe("BZFS");
    await machine.sh("systemctl disable --now berth@tanks berths.target berthd.socket berthd.service");
    await machine.sh("rm /etc/berthd/tanks.toml && berth units remove && systemctl daemon-reload");
  }, 120_000);

  test("install.md: the first server answers, and nothing is wrong", async () => {
    let printed = "";
    for (const step of steps("install")) printed = await machine.sh(step);
    const row = (user: string): RegExp =>
      new RegExp(`^tanks +occupied +\\d+ +${user} +game=tcp://0.0.0.0:5154 game=udp://0.0.0.0:5154$`, "m");
    expect(printed).toMatch(row("\\S+"));
    // The launcher takes the berth as root, and becomes the server's user soon after.
    await machine.waitFor("its user", async () => row("games").test(await machine.ok(["berth", "ls"])));
    expect(await answers()).toBe("BZFS");
    expect(await machine.ok(["berth", "doctor"])).toMatch(/nothing is wrong\n$/);
  }, 120_000);

  test("upgrade.md: the broker is another one, the first server the same, and images go forth and back", async () => {
    machine.write({ "/etc/berthd/arena.toml": ARENA });
    await machine.sh("berth image import arena /srv/trees/arena --version 1 && berth reload");
    await machine.sh("systemctl start berth@arena");
    expect(await starts(1)).toEqual(["one"]);
    machine.write({ "/srv/trees/arena/version": "two\n" });
    const pid = async (unit: string): Promise<string | undefined> => (await machine.show(unit, "MainPID"))["MainPID"];
    const before = [await pid("berthd"), await pid("berth@tanks")];
    const [restart = "", forth = "", back = "", ...more] = steps("upgrade");
    expect(more).toEqual([]);
    await machine.sh(restart);
    const after = [await pid("berthd"), await pid("berth@tanks")];
    expect(after[0]).not.toBe(before[0]);
    expect(after[1]).toBe(before[1]);
    // What the broker and systemd did, if it is not what the page says.
    const journal = (): Promise<string> =>
      machine.sh("journalctl --sync; journalctl --no-pager -u berthd -u berth@arena | tail -n 60");
    await machine.sh(forth);
    expect(await starts(2), await journal()).toEqual(["one", "two"]);
    await machine.sh(back);
    expect(await starts(3), await journal()).toEqual(["one", "two", "one"]);
    expect(await answers()).toBe("BZFS");
  }, 120_000);

  test("backup.md: what the server had written at the backup is there again", async () => {
    const [backup = "", restore = "", ...more] = steps("backup");
    expect(more).toEqual([]);
    const printed = await machine.sh(`mkdir -p /var/backups && ${backup}`);
    expect(printed).toMatch(/^arena: saved \/var\/backups\/arena-\S+Z\.tar \(\S+ KiB\); its server was stopped for /);
    const saved = (await starts(4)).slice(0, 3);
    const owner = await machine.ok(["stat", "-c", "%u", `${UPPER}/starts`]);
    await machine.sh("systemctl restart berth@arena");
    await starts(5);
    await machine.sh(restore);
    // Three of the backup, and the start after the restore.
    expect((await starts(4)).slice(0, 3)).toEqual(saved);
    expect(await machine.ok(["stat", "-c", "%u", `${UPPER}/starts`])).toBe(owner);
  }, 120_000);

  test("a snapshot freezes the server for a moment, and needs a file system that clones", async () => {
    const main = async (): Promise<string | undefined> => (await machine.show("berth@arena", "MainPID"))["MainPID"];
    const before = await main();
    const refused = await machine.run(["berth", "backup", "--snapshot", "--to", "/var/backups", "arena"]);
    expect(refused).toMatchObject({
      code: 111,
      stderr: expect.stringMatching(/cannot clone files; without --snapshot/),
    });
    // A btrfs in a file, mounted over the berth's folder, where the broker may build the next root at any time. The
    // machine has no device of its own for it.
    await machine.sh(`truncate --size 200M /run/disk && mkfs.btrfs --quiet /run/disk
      mknod /dev/loop-control c 10 237 || true
      number=$(losetup --find | tr --delete --complement 0-9)
      mknod "/dev/loop$number" b 7 "$number" || true
      mount -o "loop=/dev/loop$number" /run/disk /mnt
      systemctl stop berth@arena && mkdir -m 700 /mnt/arena && cp -a /var/lib/berthd/roots/arena/upper /mnt/arena/
      mount --bind /mnt/arena /var/lib/berthd/roots/arena`);
    await machine.sh("systemctl start berth@arena");
    await starts(5);
    const pid = await main();
    expect(pid).not.toBe(before);
    const printed = await machine.ok(["berth", "backup", "--snapshot", "--to", "/var/backups", "arena"]);
    expect(printed).toMatch(/^arena: saved \S+ \(\S+ KiB\); its server was frozen for \d+ ms\n$/);
    expect(await main()).toBe(pid);
    expect((await machine.show("berth@arena", "FreezerState"))["FreezerState"]).toBe("running");
    const file = printed.split(" ")[2] ?? "";
    expect((await machine.ok(["tar", "-xOf", file, "upper/starts"])).split("\n")).toHaveLength(6);
    expect(await machine.sh("ls /var/lib/berthd/roots/arena")).not.toContain("snapshot");
    // The unit is down when its last process is; the broker learns that and lets go of the root a moment later.
    await machine.sh(`systemctl stop berth@arena
      for try in {1..100}; do ! umount /var/lib/berthd/roots/arena || break; sleep 0.1; done
      ! mountpoint --quiet /var/lib/berthd/roots/arena && umount --lazy /mnt`);
  }, 120_000);

  test("rootless.md: an ordinary user's server answers, and nothing of it stays", async () => {
    await machine.sh("berth stop tanks && rm /etc/berthd/tanks.toml && berth reload");
    await machine.ok(["useradd", "--create-home", "--uid", "7000", "player"]);
    await machine.ok(["systemctl", "start", "user@7000.service"]);
    const as = (script: string): Promise<string> =>
      machine.ok(["runuser", "-u", "player", "--", "env", "XDG_RUNTIME_DIR=/run/user/7000", "bash", "-euc", script]);
    const all = steps("rootless");
    const printed: string[] = [];
    for (const step of all.slice(0, -1)) printed.push(await as(step));
    expect(printed.at(-1)).toMatch(/^tanks +occupied +\d+ +player +game=tcp/m);
    expect(await answers()).toBe("BZFS");
    await as(all.at(-1) ?? "");
    expect(await as("ls -A ~/.config/systemd/user ~/.config/berthd | grep -v : || true")).toBe("\n");
  }, 120_000);

  test("removal.md: nothing of berthd runs or is left", async () => {
    for (const step of steps("removal")) await machine.sh(step);
    expect(await machine.sh("ls -A /etc/systemd/system /var/lib/berthd | grep -i berth: || true")).toBe("");
    expect(await machine.sh("ls -d /etc/berthd 2>&1 || true")).toContain("No such file");
    expect((await machine.run(["pgrep", "-a", "-f", "berthd.js|berth-launch|bzfs"])).stdout).toBe("");
  }, 120_000);
});
