/**
 * Servers in roots, through the built daemon and the real launcher, as an operator has them: real programs of a Debian.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { launcherPath } from "../../../src/launcher-path.ts";
import { askTcp, run, Server } from "../../bind/harness.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../../support/broker.ts";
import { DEBIAN, DEBIAN_TIMEOUT, debianTree } from "../../support/debian-tree.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { mountsHere } from "../../support/folders.ts";
import { HeldNamespaces, namespaces } from "../../support/namespaces.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

const USER = 64_323;
const asUser = { uid: USER, gid: USER };
/** In front of a broker's command line: the folder is the user's, and the broker, too. */
const AS_USER = `chown -R ${USER}:${USER} "$(dirname "$4")"; exec setpriv --reuid=${USER} --regid=${USER} --clear-groups -- "$@"`;
const BASE = 0x6400_0000;

/** Answers each connection on fd 3 with what it finds, until it is killed. */
const PERL = String.raw`
  open(my $listener, "+<&=", 3) or die "no fd 3: $!";
  while (my $peer = accept(my $client, $listener)) {
    my $line = <$client>;
    if ($line =~ /^write (\S+)/) { open(my $file, ">", $1) or print {$client} "$!"; print {$file} "written\n" if $file }
    elsif ($line =~ /^read (\S+)/) { if (open(my $file, "<", $1)) { print {$client} <$file> } else { print {$client} "$!" } }
    else { print {$client} "pid $$ uid $> in ", join(" ", map { s{^/}{}r } grep { -d } </*>) }
    close $client;
  }`;

function ids(pid: number): { uid: string; map: string[] } {
  const uid = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
  return { uid, map: readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/) };
}

describe("a server in a root (needs root and debootstrap)", needs(...DEBIAN), () => {
  let image: string;
  let broker: BrokerProcess;
  let folder: TestFolder;
  let ports: { fds: number; other: number; bind: number };
  let fds: string[];

  const berth = (port: number, more: string, server = "", range = BASE): string => `
[sockets.game]
listen = ["tcp://127.0.0.1:${port}"]
[root]
image = "${image}"
range = ${range}
${more}
[tenant]
users = [${USER}]
[server]
command = ["perl", "-e", '''${PERL}''']
environment = { PATH = "/usr/bin:/bin" }
enter = true
${server}`;

  beforeAll(async () => {
    image = debianTree();
    folder = new TestFolder({ "maps/dm1": "a map\n" });
    mkdirSync(join(folder.path, "data"));
    chmodSync(join(folder.path, "data"), 0o777);
    ports = { fds: await freePort(), other: await freePort(), bind: await freePort() };
    const binds = `[root.binds]\n"/srv/maps" = "${folder.path}/maps"\n"/srv/data" = { source = "${folder.path}/data", read-only = false }`;
    broker = await spawnBroker(
      {
        "one.toml": berth(ports.fds, binds, 'user = "range:1000"'),
        "two.toml": berth(ports.other, "", "", BASE + 65_536),
        "nc.toml": berth(ports.bind, "", 'deliver = ["bind"]', BASE + 2 * 65_536),
        "lost.toml": berth(0, `[root.binds]\n"/srv/maps" = "${folder.path}/none"`, "", BASE + 3 * 65_536),
      },
      ["--state", join(folder.path, "state")],
    );
  }, DEBIAN_TIMEOUT);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    folder?.[Symbol.dispose]();
  });
  beforeEach(() => {
    fds = openFds();
  });
  afterEach(async () => {
    await expectFdsAgain(fds);
  });

  /** The berth's own command, started as `user`. */
  function serve(name: string, user: { uid?: number; gid?: number }): Server {
    return new Server(launcherPath(), ["--socket", broker.socket, name], user);
  }

  /** What the server answers; rejects with what it said if it ends instead. */
  const ask = async (server: Server, port: number, line: string): Promise<string> =>
    (await Promise.race([askTcp(port, line), server.until(() => false)])) ?? "";

  test.each([
    ["a user without privilege", asUser],
    ["root", {}],
  ])("started by %s serves on the berth's socket, in the root alone, and leaves nothing", async (_, user) => {
    const before = mountsHere();
    let entered: HeldNamespaces | undefined;
    {
      await using server = serve("one", user);
      const said = await ask(server, ports.fds, "who\n");
      expect(said).toMatch(
        new RegExp(`^pid ${server.pid} uid 1000 in bin boot dev etc home lib lib64 media mnt opt proc`),
      );
      expect(ids(server.pid)).toEqual({ uid: `${BASE + 1000}`, map: ["0", `${BASE}`, "65536"] });
      entered = new HeldNamespaces(server.pid);
      const links = Object.fromEntries(
        readdirSync(`/proc/${server.pid}/fd`).map((fd) => [fd, readlinkSync(`/proc/${server.pid}/fd/${fd}`)]),
      );
      expect(Object.keys(links)).toEqual(["0", "1", "2", "3"]);
      expect(links["3"]).toMatch(/^socket:/);
      expect(await ask(server, ports.fds, `read ${folder.path}/maps/dm1\n`)).toBe("No such file or directory");
      expect(await ask(server, ports.fds, "read /srv/maps/dm1\n")).toBe("a map\n");
      expect(await ask(server, ports.fds, "write /srv/maps/dm2\n")).toBe("Read-only file system");
      expect(await ask(server, ports.fds, "write /etc/mine\n")).toBe("Permission denied");
      expect(await ask(server, ports.fds, "write /srv/data/mine\n")).toBe("");
      expect(lstatSync(join(folder.path, "data/mine")).uid).toBe(BASE + 1000);
      await ask(server, ports.fds, "write /var/tmp/mine\n");
      const upper = join(folder.path, "state/roots/one/upper");
      expect(lstatSync(join(upper, "var/tmp/mine")).uid).toBe(BASE + 1000);
      expect(existsSync(join(image, "var/tmp/mine"))).toBe(false);
      await using other = serve("two", user);
      expect(await ask(other, ports.other, "who\n")).toMatch(new RegExp(`^pid ${other.pid} uid 0 in `));
      expect(await ask(other, ports.other, "read /var/tmp/mine\n")).toBe("No such file or directory");
      expect(await ask(other, ports.other, "write /etc/mine\n")).toBe("");
      expect(lstatSync(join(folder.path, "state/roots/two/upper/etc/mine")).uid).toBe(BASE + 65_536);
    }
    const left = namespaces();
    expect(entered.names.filter((name) => left.has(name))).toEqual([]);
    entered[Symbol.dispose]();
    expect(mountsHere()).toEqual(before);
  });

  test("that binds by itself gets the berth's socket, across the user namespace", async () => {
    const port = String(ports.bind);
    await using server = run(broker, "nc", ["nc", "-lk", "127.0.0.1", port], asUser);
    const asked = askTcp(ports.bind, "hello\n");
    await server.said(1);
    expect(server.lines).toEqual(["hello"]);
    expect(ids(server.pid).uid).toBe(`${BASE + 2 * 65_536}`);
    await server.kill();
    await asked.catch(() => undefined);
  });

  test("whose bind has no source is refused in a sentence, and the berth stays free", async () => {
    await using server = serve("lost", asUser);
    await server.ended();
    expect(server.child.exitCode).toBe(1);
    expect(server.stderr).toContain(`the root of berth "lost" is not available: open_tree ${folder.path}/none`);
    await using next = run(broker, "lost", ["true"], {});
    await next.ended();
    expect(next.stderr).toContain("is not available: ");
  });
});

describe("a broker without root (needs root, to become another user)", needs(...DEBIAN, "setpriv"), () => {
  let image: string;
  let home: TestFolder;
  let port: number;
  let fds: string[];
  beforeAll(async () => {
    image = debianTree();
    port = await freePort();
  }, DEBIAN_TIMEOUT);
  beforeEach(() => {
    fds = openFds();
    home = new TestFolder({ "own/srv/motd": "of the image\n", "own/srv/deep/file": "x", "maps/dm1": "a map\n" });
    execFileSync("chown", ["-R", `${USER}:${USER}`, home.path]);
  });
  afterEach(async () => {
    home[Symbol.dispose]();
    await expectFdsAgain(fds);
  });

  /**
   * A broker of the user's; its berth has an image of theirs over a Debian. `more` is of [root], `server` of [server].
   */
  async function start(more = "", server = "", wrap = AS_USER): Promise<BrokerProcess> {
    const config = `[sockets.game]
listen = ["tcp://127.0.0.1:${port}"]
[root]
image = ["${image}", "${home.path}/own"]
${more}
[server]
command = ["perl", "-e", '''${PERL}''']
environment = { PATH = "/usr/bin:/bin" }
${server}`;
    return await spawnBroker({ "one.toml": config }, ["--state", `${home.path}/state`], ["sh", "-c", wrap, "sh"]);
  }

  const serve = (broker: BrokerProcess): Server =>
    new Server(launcherPath(), ["--socket", broker.socket, "one"], asUser);

  test.each([
    ["persistent", "written\n"],
    ["volatile", "of the image\n"],
  ])("gives a root that is %s as a directory, to processes of its user", async (state, later) => {
    const before = mountsHere();
    await using broker = await start(`state = "${state}"`);
    const puppet = async (): Promise<Puppet> => await Puppet.connect(broker.socket, asUser);
    const open = (flags: string): string => `os.open("srv/motd", os.O_${flags}, dir_fd=b.fds[1])`;
    {
      await using first = await puppet();
      const { parameters } = await first.call("Acquire", { berth: "one" });
      expect(parameters["descriptors"]).toMatchObject([{ name: "game" }, { name: "root", kind: "root", index: 1 }]);
      expect(await first.do(`result = os.read(${open("RDONLY")}, 99).decode()`)).toBe("of the image\n");
      await first.do(`os.write(${open("WRONLY | os.O_TRUNC")}, b"written\\n")`);
      await first.do(`os.mkdir("srv/new", dir_fd=b.fds[1])`);
      expect(await first.do(`result = os.stat("srv/new", dir_fd=b.fds[1]).st_uid`)).toBe(USER);
      expect(await first.do(`result = os.path.exists("/proc/self/fd/%d/etc/debian_version" % b.fds[1])`)).toBe(true);
    }
    await broker.logged(({ event }) => event === "released");
    await using second = await puppet();
    await second.call("Acquire", { berth: "one" });
    expect(await second.do(`result = os.read(${open("RDONLY")}, 99).decode()`)).toBe(later);
    expect(readFileSync(join(home.path, "own/srv/motd"), "utf8")).toBe("of the image\n");
    expect(readdirSync(join(home.path, "own/srv")).sort()).toEqual(["deep", "motd"]);
    expect(await broker.logged(({ event }) => event === "root")).toMatchObject({ strategy: "none" });
    expect(mountsHere()).toEqual(before);
  });

  test("has its server enter the root, with its own id as root's, and leaves nothing", async () => {
    const binds = `[root.binds]\n"/srv/maps" = "${home.path}/maps"`;
    await using broker = await start(binds, "enter = true");
    let entered: HeldNamespaces | undefined;
    {
      await using server = serve(broker);
      expect(await askTcp(port, "who\n")).toMatch(new RegExp(`^pid ${server.pid} uid 0 in bin boot dev etc home`));
      expect(ids(server.pid)).toEqual({ uid: `${USER}`, map: ["0", `${USER}`, "1"] });
      entered = new HeldNamespaces(server.pid);
      expect(await askTcp(port, "read /srv/motd\n")).toBe("of the image\n");
      expect(await askTcp(port, `read ${home.path}/own/srv/motd\n`)).toBe("No such file or directory");
      expect(await askTcp(port, "write /srv/motd\n")).toBe("");
      expect(await askTcp(port, "read /srv/maps/dm1\n")).toBe("a map\n");
      expect(await askTcp(port, "write /srv/maps/dm1\n")).toBe("Read-only file system");
      expect(await askTcp(port, "write /tmp/x\n")).toBe("");
    }
    expect(readFileSync(join(home.path, "state/roots/one/upper/srv/motd"), "utf8")).toBe("written\n");
    expect(readFileSync(join(home.path, "own/srv/motd"), "utf8")).toBe("of the image\n");
    await broker.logged(({ event }) => event === "released");
    const left = namespaces();
    expect(entered.names.filter((name) => left.has(name))).toEqual([]);
    entered[Symbol.dispose]();
    await using next = serve(broker);
    expect(await askTcp(port, "read /srv/motd\n")).toBe("written\n");
    expect(next.stderr).toBe("");
  });

  test("delivers by bind into a root that was entered", async () => {
    await using broker = await start("read-only = true", 'enter = true\ndeliver = ["bind"]');
    await using server = run(broker, "one", ["nc", "-lk", "127.0.0.1", String(port)], asUser);
    const asked = askTcp(port, "hello\n");
    expect(await server.said(1)).toEqual(["hello"]);
    await server.kill();
    await asked.catch(() => undefined);
  });

  test.each([
    ["another id than root's", "", 'enter = true\nuser = "range:7"', 'write server.user = "range"'],
    ["ids of a range", 'shift = "idmap"', "", 'write root.shift = "none" or "auto"'],
    ["ids of the host", "", 'user = "range"', "it has no range for server.user"],
  ])("says that it cannot give %s, and the berth stays free", async (_, more, server, words) => {
    await using broker = await start(more, server);
    for (let tries = 0; tries < 2; tries++) {
      await using refused = serve(broker);
      await refused.ended();
      expect(refused.stderr).toContain("is not available: ");
      expect(refused.stderr).toContain(words);
      expect(refused.child.exitCode).toBe(1);
    }
  });

  test("names the sysctl where users may not make user namespaces", async () => {
    // In a user namespace of the test's own, whose limit is that of no other.
    const forbid =
      'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps=-all --inh-caps=-all -- "$@"';
    const inner = `unshare --user --map-current-user --keep-caps -- sh -c '${forbid}' sh "$@"`;
    await using broker = await start("", "", AS_USER.replace('"$@"', inner));
    await using refused = serve(broker);
    await refused.ended();
    expect(refused.stderr).toContain(
      "cannot make a user namespace: No space left on device; this host allows no user namespaces",
    );
    expect(refused.stderr).toContain("sysctl -w user.max_user_namespaces=1000");
  });
});
