/** A container on a berth's root, as a unit: Debian inside, its sockets the broker's, its network a veth pair. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BOOTABLE, DEBIAN, DEBIAN_TIMEOUT, debianTree } from "../../support/debian-tree.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { ask, inodesAt } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

const server = `#!/usr/bin/perl
open(my $listener, "+<&=3") or die "fd 3: $!";
die "LISTEN_PID=$ENV{LISTEN_PID}, not $$" unless $ENV{LISTEN_PID} == $$;
$SIG{TERM} = sub { open(my $file, ">", "/srv/saved"); print $file "by SIGTERM\n"; close $file; exit 0 };
while (accept(my $client, $listener)) {
  open(my $map, "<", "/proc/self/uid_map");
  my @map = split(" ", <$map>);
  open(my $file, ">", "/srv/written") or die $!;
  print $file "by the server\\n";
  close $file;
  syswrite($client, "$ENV{LISTEN_FDS} uid=$> base=$map[1] count=$map[2] owner=" . (stat "/srv/written")[4] . "\\n");
  close $client;
}
`;
const settings = `[Unit]
Requires=container-veth@demo.service
[Service]
Environment="COMMAND=/usr/bin/perl /srv/server.pl"
`;
const deaf = `[Service]
Environment=STOP_SECONDS=0.5
Environment="COMMAND=/usr/bin/perl -e '$SIG{TERM} = $SIG{HUP} = q(IGNORE); sleep 1000'"
`;
const inner = `[sockets.game]
listen = ["tcp://127.0.0.1:7102"]
[root]
image = "/srv/debian"
[server]
enter = true
user = "range:1000"
command = ["/usr/bin/perl", "-e", 'open(my $l, "+<&=3") or die; while (accept(my $c, $l)) { syswrite($c, "uid=$>\\n" . qx(unshare --user echo made 2>&1)); close $c }']
`;
// An image in the machine's own layer could not have its owners mapped: these are in memory.
const image = "/var/lib/berthd/demo-image";
const units = "/var/lib/berthd/booted-image";

describe("container@demo.service", needs(...MACHINE, ...DEBIAN), () => {
  let machine: Machine;
  beforeAll(
    async () => {
      machine = await bootMachine({
        binds: { "/srv/debian": debianTree(), "/srv/trixie": debianTree(BOOTABLE) },
        files: {
          "/etc/berthd/demo.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:7100"]\n[root]\nimage = ["/srv/debian", "${image}"]\n`,
          "/etc/berthd/bare.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:7101"]\n',
          "/etc/berthd/inner.toml": inner,
          "/etc/berthd/deaf.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:7104"]\n[root]\nimage = "/srv/debian"\n',
          "/etc/systemd/system/container@deaf.service.d/settings.conf": deaf,
          "/etc/berthd/booted.toml": `[sockets.hello]\nlisten = ["tcp://127.0.0.1:7103"]\n[root]\nimage = ["/srv/trixie", "${units}"]\n`,
          "/etc/systemd/system/container@demo.service.d/settings.conf": settings,
        },
      });
      machine.write({
        [`${image}/srv/server.pl`]: server,
        [`${units}/etc/systemd/system/hello.socket`]: "[Socket]\nListenStream=127.0.0.1:7103\nAccept=yes\n",
        [`${units}/etc/systemd/system/hello@.service`]:
          "[Service]\nExecStart=echo from inside\nStandardOutput=socket\n",
        [`${units}/etc/systemd/system/sockets.target.d/hello.conf`]: "[Unit]\nWants=hello.socket\n",
      });
      await machine.sh("berth units install && systemctl daemon-reload && systemctl start berthd.socket && berth ls");
    },
    2 * DEBIAN_TIMEOUT + 90_000,
  );
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  /** Everything that a container could leave behind. */
  async function traces(): Promise<Record<string, unknown>> {
    const users = (await machine.ok(["ps", "-eo", "uid="])).trim().split(/\s+/).map(Number);
    return {
      mounts: await machine.sh("sort -k5 /proc/1/mountinfo | cut -d' ' -f5-"),
      links: await machine.sh("ls /sys/class/net"),
      processes: users.filter((uid) => uid >= 65_536),
      cgroups: await machine.sh("ls -d /sys/fs/cgroup/berths.slice/*/ 2>/dev/null || true"),
      namespaces: await machine.sh("{ readlink /proc/[0-9]*/ns/net || true; } | sort -u | wc -l"),
      folders: await machine.sh("ls /run; find /run/systemd/nspawn -mindepth 2 2>/dev/null || true"),
    };
  }

  const hello = async (): Promise<string> => (await ask(machine, "tcp", 7100, "", 20)).toString();

  /** The process inside that runs the server. */
  const inside = async (): Promise<string> =>
    (await machine.ok(["pgrep", "-f", "^/usr/bin/perl /srv/server.pl"])).trim();

  async function running(): Promise<void> {
    await machine.ok(["systemctl", "start", "container@demo.service"]);
    await machine.waitFor(
      "the server inside",
      async () => (await machine.run(["pgrep", "-f", "^/usr/bin/perl"])).code === 0,
    );
  }

  test("runs Debian on the berth's root, with the ids of its range, and answers on a socket of the broker's", async () => {
    const before = await traces();
    const sockets = await inodesAt(machine, 7100);
    expect(sockets).toHaveLength(1);
    await running();
    expect(await inodesAt(machine, 7100)).toEqual(sockets);
    const { range } = JSON.parse(await machine.ok(["berth", "show", "--json", "demo"])) as { range: { base: number } };
    // What it writes is root's inside, and an id of the range outside.
    expect(await hello()).toBe(`1 uid=0 base=${range.base} count=65536 owner=0\n`);
    const pid = await inside();
    expect(machine.read(`/proc/${pid}/status`)).toMatch(new RegExp(`^Uid:\t${range.base}\t`, "m"));
    expect(machine.read(`/proc/${pid}/status`)).toMatch(/^Seccomp:\t2$/m);
    const mounts = machine.read(`/proc/${pid}/mountinfo`).split("\n");
    expect(mounts.filter((line) => line.split(" ")[4] === "/").map((line) => / - (\S+) /.exec(line)?.[1])).toEqual([
      "overlay",
    ]);
    const { ControlGroup } = await machine.show("container@demo", "ControlGroup");
    expect(machine.read(`/proc/${pid}/cgroup`)).toMatch(new RegExp(`^0::.*${ControlGroup}/payload$`, "m"));

    // The network: a pair, one end in here, and packets go through it.
    const links = JSON.parse(await machine.ok(["ip", "-json", "address", "show", "ve-demo"])) as {
      operstate: string;
    }[];
    expect(links).toMatchObject([{ operstate: "UP", addr_info: [{ local: "10.66.0.1" }, {}] }]);
    expect(machine.read(`/proc/${pid}/net/dev`)).toContain("host0:");
    await expect(ask(machine, "tcp", 9, "", 1, "10.66.0.2")).rejects.toThrow("ECONNREFUSED 10.66.0.2:9");

    // Its network stops with it; it is named so that systemctl waits for it as well.
    await machine.ok(["systemctl", "stop", "container@demo.service", "container-veth@demo.service"]);
    await machine.waitFor("the end of its network", async () => (await machine.sh("ls /sys/class/net")) === "lo\n");
    expect(await traces()).toEqual(before);
    expect(await inodesAt(machine, 7100)).toEqual(sockets);
    expect(await machine.ok(["berth", "ls"])).toMatch(/^demo +vacant/m);
  }, 120_000);

  test("leaves nothing when it is killed, and finds its files when it is restarted", async () => {
    await running();
    await hello();
    const before = await inside();
    await machine.ok(["systemctl", "kill", "--signal=KILL", "container@demo.service"]);
    // Restarted, on the same socket: the connection waits in it.
    expect(await hello()).toContain("uid=0");
    expect(await inside()).not.toBe(before);
    expect(machine.read(`/proc/${await inside()}/root/srv/written`)).toBe("by the server\n");
    await machine.ok(["systemctl", "stop", "container@demo.service"]);
  }, 120_000);

  test("a program gets SIGTERM when its container is stopped, and ends in its own time", async () => {
    await running();
    await hello(); // then it has its handler
    await machine.ok(["systemctl", "stop", "container@demo.service"]);
    expect(await machine.show("container@demo", "Result", "ActiveState")).toEqual({
      Result: "success",
      ActiveState: "inactive",
    });
    await running();
    expect(machine.read(`/proc/${await inside()}/root/srv/saved`)).toBe("by SIGTERM\n");
  }, 120_000);

  test("a container that ends by itself takes its network and its link with it", async () => {
    await hello();
    expect(await machine.sh("ls /sys/class/net")).toBe("lo\nve-demo\n");
    await machine.ok(["kill", "-TERM", await inside()]);
    await machine.waitFor("the end of its network", async () => (await machine.sh("ls /sys/class/net")) === "lo\n");
    await machine.waitFor("the end of both", async () => {
      const { stdout } = await machine.run(["systemctl", "is-active", "container@demo", "container-veth@demo"]);
      return stdout === "inactive\ninactive\n";
    });
  }, 120_000);

  test("a program that ignores SIGTERM is killed after a while, and its container has not failed", async () => {
    await machine.ok(["systemctl", "start", "container@deaf.service"]);
    const pid = await machine.waitFor("it to be deaf", async () => {
      const { stdout } = await machine.run(["pgrep", "-f", "^/usr/bin/perl -e .*sleep 1000"]);
      const [, ignored] =
        /^SigIgn:\s+(\w+)$/m.exec(stdout === "" ? "" : machine.read(`/proc/${stdout.trim()}/status`)) ?? [];
      return ignored !== undefined && (BigInt(`0x${ignored}`) & 0x4000n) !== 0n && stdout.trim();
    });
    await machine.ok(["systemctl", "stop", "container@deaf.service"]);
    expect(await machine.show("container@deaf", "Result", "ActiveState")).toEqual({
      Result: "success",
      ActiveState: "inactive",
    });
    expect((await machine.run(["test", "-e", `/proc/${pid}`])).code).toBe(1);
  }, 120_000);

  test("boots an image that has a systemd, which takes the socket for its own socket unit", async () => {
    const sockets = await inodesAt(machine, 7103);
    await machine.ok(["systemctl", "start", "container@booted.service"]);
    expect((await ask(machine, "tcp", 7103, "", 5)).toString()).toBe("from inside\n");
    expect(await inodesAt(machine, 7103)).toEqual(sockets);
    await machine.ok(["systemctl", "stop", "container@booted.service"]);
    expect(await machine.show("container@booted.service", "Result")).toEqual({ Result: "success" });
  }, 120_000);

  test("a berth without a root is refused in a sentence", async () => {
    expect((await machine.run(["systemctl", "start", "container@bare.service"])).code).toBe(0);
    await machine.waitFor("the refusal", async () =>
      (await machine.journal("container@bare")).includes("berth-launch:"),
    );
    expect(await machine.journal("container@bare")).toContain(
      "the berth has no root for --contain; add a section [root]",
    );
    await machine.ok(["systemctl", "stop", "container@bare.service"]);
  });

  test("a server that enters its root by itself needs no container: berth@.service lets it", async () => {
    await machine.ok(["systemctl", "start", "berth@inner.service"]);
    // And once it is in, the unit refuses it further namespaces.
    expect((await ask(machine, "tcp", 7102, "", 5)).toString()).toBe(
      "uid=1000\nunshare: unshare failed: Operation not permitted\n",
    );
    const { MainPID } = await machine.show("berth@inner.service", "MainPID");
    const { range } = JSON.parse(await machine.ok(["berth", "show", "--json", "inner"])) as { range: { base: number } };
    expect(machine.read(`/proc/${MainPID}/status`)).toMatch(new RegExp(`^Uid:\t${range.base + 1000}\t`, "m"));
    await machine.ok(["systemctl", "stop", "berth@inner.service"]);
  });
});
