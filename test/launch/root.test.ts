/** berth-launch in a root: what is made here as a broker would make it, entered by the real launcher. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { native, packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { DEBIAN, DEBIAN_TIMEOUT, debianTree } from "../support/debian-tree.ts";
import { openFds } from "../support/fds.ts";
import { mountsHere } from "../support/folders.ts";
import { HeldNamespaces, namespaces } from "../support/namespaces.ts";
import { needs } from "../support/needs.ts";
import { FakeBroker, launch, launcher, type Outcome, run, sentence, statusIn } from "./fake-broker.ts";
import { BASE, type Entry, type Layers, makeLayers, offerRoot, RDONLY, reofferRoot, treeOf } from "./root-kit.ts";

/** A user that the user namespace belongs to, who has no privilege. */
const OWNER = 64_321;
const SOMEBODY = 64_322;
/** The number of keyctl(2). */
const KEYCTL = process.arch === "x64" ? 250 : 219;

describe("a launch into a root (needs root and debootstrap)", needs(...DEBIAN), () => {
  let image: string;
  let folder: TestFolder;
  let broker: FakeBroker;
  let layers: Layers;
  let fds: string[];
  let mounts: string[];
  beforeAll(() => {
    image = debianTree();
  }, DEBIAN_TIMEOUT);
  beforeEach(() => {
    fds = openFds();
    mounts = mountsHere();
    folder = new TestFolder();
    layers = makeLayers(folder.path, image);
    broker = new FakeBroker();
    chmodSync(broker.folder, 0o755);
    chmodSync(broker.path, 0o777);
  });
  afterEach(() => {
    broker[Symbol.dispose]();
    folder[Symbol.dispose]();
    expect(mountsHere()).toEqual(mounts);
    expect(openFds()).toEqual(fds);
  });

  /** Runs a shell script in the root, to its end. */
  async function inside(script: string, entry: Entry = {}, start = {}): Promise<Outcome> {
    offerRoot(broker, layers, ["sh", "-c", script], entry);
    return await launch(broker, ["arena"], start);
  }

  async function said(script: string, entry: Entry = {}, start = {}): Promise<string[]> {
    const outcome = await inside(script, entry, start);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    return outcome.stdout.trimEnd().split("\n");
  }

  /** What the launcher's environment has as the service manager's socket. */
  const notify = (address: string): { readonly env: Record<string, string> } => ({ env: { NOTIFY_SOCKET: address } });

  async function refused(script: string, entry: Entry = {}, start = {}): Promise<string> {
    const outcome = await inside(script, entry, start);
    expect(outcome).toMatchObject({ code: 111, stdout: "", stderr: expect.stringMatching(sentence) });
    return outcome.stderr;
  }

  /** Runs a command in the very root that was offered before. */
  async function again(argv: readonly string[]): Promise<Outcome> {
    reofferRoot(broker, argv);
    return await launch(broker);
  }

  describe.each([
    ["root", {}],
    ["the owner of its user namespace, without any privilege", { uid: OWNER, gid: OWNER }],
  ])("by %s", (_, start) => {
    test("is the same process, with an id of the range, no capability and only the root's mounts", async () => {
      offerRoot(broker, layers, ["sh", "-c", "echo ready; read line; exit 7"], { owner: OWNER });
      const server = spawn(launcher, ["--socket", broker.path, "arena"], {
        stdio: ["pipe", "pipe", "inherit"],
        ...start,
      });
      try {
        const closed = once(server, "close");
        await once(server.stdout, "data");
        const proc = `/proc/${server.pid}`;
        const status = readFileSync(join(proc, "status"), "utf8");
        for (const field of ["Uid", "Gid"]) expect(statusIn(status, field)).toBe(Array(4).fill(BASE).join("\t"));
        expect(status).toMatch(/^Groups:\s*$/m);
        for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
          expect([set, statusIn(status, set)]).toEqual([set, "0000000000000000"]);
        }
        expect(statusIn(status, "NoNewPrivs")).toBe("1");
        expect(readFileSync(join(proc, "uid_map"), "utf8").trim().split(/\s+/)).toEqual(["0", `${BASE}`, "65536"]);
        expect(readFileSync(join(proc, "comm"), "utf8")).toBe("sh\n");
        const points = readFileSync(join(proc, "mountinfo"), "utf8").trimEnd().split("\n");
        expect(points.map((line) => line.split(" ")[4]).toSorted()).toEqual(
          [
            "/",
            "/dev",
            ...["full", "null", "random", "shm", "tty", "urandom", "zero"].map((name) => `/dev/${name}`),
          ].concat(["/proc", "/run", "/tmp"]),
        );
        expect(readlinkSync(join(proc, "cwd"))).toBe("/");
        const { dev, ino } = statSync(join(proc, "root"));
        expect({ dev, ino }).not.toEqual({ dev: statSync("/").dev, ino: statSync("/").ino });
        expect(readdirSync(join(proc, "fd"))).toEqual(["0", "1", "2"]);

        using entered = new HeldNamespaces(Number(basename(proc)));
        expect([...namespaces()]).toEqual(expect.arrayContaining([...entered.names]));
        server.stdin.end("\n");
        expect(await closed).toEqual([7, null]);
        const left = namespaces();
        expect(entered.names.filter((name) => left.has(name))).toEqual([]);
      } finally {
        server.kill("SIGKILL");
        server.stdout.destroy();
      }
    });

    test("writes to the upper with ids of the range, and the image stays as it is", async () => {
      const before = lstatSync(join(image, "etc/hostname"));
      const script =
        "echo mine >/etc/hostname; echo new >/srv/new; chown 1000:1001 /srv/new; cat /etc/hostname /srv/new";
      // chown(2) to another id of the range takes a capability, which this server keeps.
      const plan = { capabilities: [0], user: { uid: 0, gid: 0, groups: [] } };
      expect(await said(script, { owner: OWNER, plan }, start)).toEqual(["mine", "new"]);
      const after = lstatSync(join(image, "etc/hostname"));
      expect([after.mtimeMs, after.ctimeMs, after.uid]).toEqual([before.mtimeMs, before.ctimeMs, 0]);
      expect(existsSync(join(image, "srv/new"))).toBe(false);
      const { uid, gid } = lstatSync(join(layers.upper, "srv/new"));
      expect({ uid, gid }).toEqual({ uid: BASE + 1000, gid: BASE + 1001 });
      expect(lstatSync(join(layers.upper, "etc/hostname")).uid).toBe(BASE);
    });

    test("reaches no file of the host, whatever way it tries", async () => {
      folder.write({ secret: "of the host" });
      const secret = join(folder.path, "secret");
      const ways = ["", "/..".repeat(20), "/proc/self/root", "/proc/self/cwd/../..", "/proc/1/root", "/proc/1/cwd"];
      ways.push(
        `/proc/${process.pid}/root`,
        `/proc/${process.pid}/cwd/../../../../..`,
        "/dev/fd/0/..",
        "/proc/self/fd/3",
      );
      const script = `
        for my $way (@ARGV) { if (open(my $file, "<", $way)) { print "$way: ", <$file>, "\\n" } }
        chroot("srv"); chdir("../../../../.."); print "escaped\\n" if -e "${secret.slice(1)}";
        for my $pid (glob("/proc/[0-9]*")) { print "sees $pid\\n" if $pid ne "/proc/$$" && -e "$pid/stat" }
        print "done\\n"`;
      offerRoot(broker, layers, ["perl", "-e", script, ...ways.map((way) => way + secret)], {
        owner: OWNER,
        // As if all of it had not been dropped: even with every capability there is nothing but the root.
        plan: { capabilities: [1, 2, 18, 21] },
      });
      expect(await launch(broker, ["arena"], start)).toMatchObject({ code: 0, stdout: "done\n", stderr: "" });
    });
  });

  test("gives it a /dev, a /tmp and a /run of its own", async () => {
    const script = `
      ls /dev | xargs; echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c
      echo passed >/tmp/a; echo through >/run/b; mkdir /dev/shm/c; cat /tmp/a /run/b; echo fd | cat /dev/stdin
      stat -c '%a %U' /tmp /run /dev /dev/shm; pwd`;
    expect(await said(script)).toEqual([
      "fd full null random shm stderr stdin stdout tty urandom zero",
      ...["3", "5", "passed", "through", "fd", "1777 root", "755 root", "755 root", "1777 root", "/"],
    ]);
    expect(readdirSync(join(layers.upper))).toEqual([]);
  });

  test("runs it as the id inside that the plan says, in its directory, with its limits and descriptors", async () => {
    const plan = {
      user: { uid: 1000, gid: 1001, groups: [7] },
      directory: "/srv",
      limits: [{ resource: "nofile", soft: 64, hard: 128 }],
      listenFds: true,
    };
    const game = native.memfd("game");
    const script = 'id -u; id -g; id -G; pwd; ulimit -n; readlink /proc/self/fd/3; echo "$LISTEN_FDS $LISTEN_FDNAMES"';
    expect(await said(script, { plan, fds: { game } })).toEqual([
      "1000",
      "1001",
      "1001 7",
      "/srv",
      "64",
      "/memfd:game (deleted)",
      "1 game",
    ]);
  });

  test("places what the plan mounts, and makes the places", async () => {
    folder.write({ "maps/dm1": "a map\n", motd: "hello\n" });
    mkdirSync(join(folder.path, "data"), { mode: 0o777 });
    chmodSync(join(folder.path, "data"), 0o777);
    const mounts = {
      "/srv/game/maps": treeOf(join(folder.path, "maps"), RDONLY),
      "/etc/motd": treeOf(join(folder.path, "motd"), RDONLY),
      "/etc/deep/er/motd": treeOf(join(folder.path, "motd"), RDONLY),
      "/srv/data": treeOf(join(folder.path, "data")),
    };
    const script = `cat /srv/game/maps/dm1 /etc/motd /etc/deep/er/motd; echo x >/srv/data/mine
      touch /srv/game/maps/dm2; touch /srv/own/dm2; cat /srv/own/dm1; umount /srv/game/maps; echo done`;
    const binds = [{ source: join(folder.path, "maps"), target: "/srv/own", readOnly: true }];
    const { stdout, stderr } = await inside(script, { mounts, binds });
    expect(stdout).toBe("a map\nhello\nhello\na map\ndone\n");
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
    expect(stderr).toMatch(/umount: .*must be superuser|umount: .*permission denied/i);
    const { uid } = statSync(join(folder.path, "data/mine"));
    expect(uid).toBe(BASE);
    expect(readdirSync(join(folder.path, "maps"))).toEqual(["dm1"]);
  });

  test("lets it speak to the service manager, whose socket is in the host's file tree", async () => {
    const heard: string[] = [];
    const address = join(folder.path, "deep/notify");
    mkdirSync(join(folder.path, "deep"));
    const manager = createServer((peer) => peer.on("data", (data) => heard.push(String(data)))).listen(address);
    await once(manager, "listening");
    chmodSync(address, 0o666);
    const script = `use Socket; socket(my $socket, PF_UNIX, SOCK_STREAM, 0);
      connect($socket, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die "$!"; syswrite($socket, "READY=1"); print -e "${folder.path}/upper" ? "out" : "in"`;
    offerRoot(broker, layers, ["perl", "-e", script]);
    const { stdout, stderr } = await launch(broker, ["arena"], { env: { NOTIFY_SOCKET: address } });
    expect({ stdout, stderr }).toEqual({ stdout: "in", stderr: "" });
    manager.close();
    await once(manager, "close");
    expect(heard).toEqual(["READY=1"]);
    offerRoot(broker, layers, ["true"]);
    const lost = await launch(broker, ["arena"], { env: { NOTIFY_SOCKET: "/nonexistent/notify" } });
    expect(lost).toMatchObject({ code: 111, stderr: expect.stringMatching(sentence) });
    expect(lost.stderr).toContain("cannot open the service manager's socket /nonexistent/notify: No such file");
  });

  test("a folder, a file or a link in NOTIFY_SOCKET is refused, and the server gets no folder of the host", async () => {
    const home = join(folder.path, "home");
    folder.write({ "home/secret": "the host's\n" });
    chmodSync(home, 0o777);
    symlinkSync(home, join(folder.path, "link"));
    for (const path of [home, join(home, "secret"), join(folder.path, "link")]) {
      const refusal = await refused(`cat "$NOTIFY_SOCKET/secret"; touch "$NOTIFY_SOCKET/written"`, {}, notify(path));
      expect(refusal).toContain(`NOTIFY_SOCKET is ${path}, which is no socket`);
    }
    expect(readdirSync(home)).toEqual(["secret"]);
  });

  test("the socket in NOTIFY_SOCKET is mounted without devices, setuid and programs", async () => {
    const address = join(folder.path, "notify");
    const manager = createServer().listen(address);
    await once(manager, "listening");
    try {
      const [line] = await said('grep " $NOTIFY_SOCKET " /proc/self/mountinfo', {}, notify(address));
      expect(line?.split(" ")[5]?.split(",")).toEqual(expect.arrayContaining(["nosuid", "nodev", "noexec"]));
    } finally {
      manager.close();
    }
  });

  test("the namespaces of a root are no obstacle to no-namespaces", async () => {
    const script = "echo in; unshare --user true";
    const outcome = await inside(script, { plan: { noNamespaces: true } });
    expect(outcome).toMatchObject({ stdout: "in\n", stderr: expect.stringContaining("Operation not permitted") });
    expect(await said("unshare --user echo made")).toEqual(["made"]);
  });

  test("it finds no key of the session that launched it", async () => {
    const script = `print syscall(${KEYCTL}, 10, -3, my $type = "user", my $name = "berth-test", 0) < 0 ? $! : "found"`;
    offerRoot(broker, layers, ["perl", "-e", script]);
    const session = ["python3", join(packageRoot, "test/fixtures/launch/keyring.py"), "add"] as const;
    const { stdout, stderr } = await run([...session, launcher, "--socket", broker.path, "arena"]);
    expect({ stdout, stderr }).toEqual({ stdout: "Required key not available", stderr: "" });
  });

  test("a link in the image leads a mount to a place in the root, never to the host's", async () => {
    folder.write({ "image/proc/keep": "", "image/dev/keep": "", "host/motd": "the host's\n", motd: "bound\n" });
    layers = { ...layers, image: join(folder.path, "image") };
    const link = join(layers.upper, "etc");
    // As a server of an earlier lease could have left it.
    symlinkSync(join(folder.path, "host"), link);
    const mounts = { "/etc/motd": treeOf(join(folder.path, "motd"), RDONLY) };
    const words = await refused("true", { mounts });
    expect(words).toContain("cannot create /etc/motd in the root");
    expect(readFileSync(join(folder.path, "host/motd"), "utf8")).toBe("the host's\n");
    // What had to be made was made in the root.
    expect(existsSync(join(layers.upper, folder.path.slice(1), "host/motd"))).toBe(false);
  });

  test("a place that a read-only root has not is named", async () => {
    folder.write({ "image/etc/hostname": "x", motd: "hello" });
    layers = { ...layers, image: join(folder.path, "image") };
    expect(await refused("true", { attributes: RDONLY })).toMatch(/cannot create \/dev in the root, .*read-only/);
  });

  test("a root that is read-only is, and serves all the same", async () => {
    const { stdout, stderr } = await inside("echo x >/srv/x; echo y >/tmp/y; cat /tmp/y", { attributes: RDONLY });
    expect(stdout).toBe("y\n");
    expect(stderr).toContain("Read-only file system");
    expect(readdirSync(layers.upper)).toEqual([]);
  });

  test("nobody but the owner and root may enter, and nothing runs", async () => {
    const words = await refused("echo ran", { owner: OWNER }, { uid: SOMEBODY, gid: SOMEBODY });
    expect(words).toContain("cannot join the user namespace of the berth's root");
  });

  test("a standard stream that is a folder of the host is refused, for it leads out", async () => {
    offerRoot(broker, layers, ["true"]);
    const outcome = await run(["sh", "-c", '"$0" --socket "$1" arena </', launcher, broker.path]);
    expect(outcome).toMatchObject({ code: 111, stdout: "", stderr: expect.stringMatching(sentence) });
    expect(outcome.stderr).toContain("fd 0 is a directory outside the berth's root");
  });

  test("a program that is not in the root is not found, though the host has it", async () => {
    const program = join(folder.path, "program");
    writeFileSync(program, "#!/bin/sh\necho ran\n", { mode: 0o755 });
    offerRoot(broker, layers, [program]);
    const outcome = await run([launcher, "--socket", broker.path, "arena"]);
    expect(outcome).toMatchObject({ code: 111, stdout: "" });
    expect(outcome.stderr).toContain(`cannot run ${program} as uid 0: No such file or directory`);
  });

  test("a root can be entered again while somebody is in it, as in a handover", async () => {
    offerRoot(broker, layers, ["sh", "-c", "echo ready >/srv/ready; cat /srv/ready; read line"], { owner: OWNER });
    const first = spawn(launcher, ["--socket", broker.path, "arena"], { stdio: ["pipe", "pipe", "inherit"] });
    try {
      const closed = once(first, "close");
      await once(first.stdout, "data");
      // The same mount; only /proc is for one.
      expect(await again(["cat", "/srv/ready"])).toMatchObject({ code: 0, stdout: "ready\n", stderr: "" });
      first.stdin.end("\n");
      await closed;
      expect(await again(["cat", "/srv/ready"])).toMatchObject({ code: 0, stdout: "ready\n", stderr: "" });
    } finally {
      first.kill("SIGKILL");
      first.stdout.destroy();
    }
  });

  test("two roots of one image never see each other's writes", async () => {
    expect(await said("echo mine >/srv/mine; ls /srv")).toEqual(["mine"]);
    mkdirSync(join(folder.path, "other"));
    layers = makeLayers(join(folder.path, "other"), image);
    expect(await said("ls /srv; echo none")).toEqual(["none"]);
  });
});
