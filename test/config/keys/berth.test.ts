import { describe, expect, it } from "vitest";
import { configurationKeys } from "../../../src/config/keys/berth.ts";
import { limitUnits } from "../../../src/config/keys/kernel-names.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/toml/problem.ts";
import { printable } from "../../../src/printable.ts";
import { accounts, berth, bob, folder, load, problemsOf, socket } from "../fixture.ts";

describe("a berth", () => {
  it("with only an address has the defaults", () => {
    const { sockets, tenant, server, root } = berth({ "etc/a.toml": socket });
    expect(root).toBeUndefined();
    expect(sockets).toEqual([
      {
        name: "game",
        listen: [
          {
            kind: "datagram",
            address: { family: "ipv4", host: "127.0.0.1", port: 27960 },
            dualStack: false,
            origin: { file: expect.stringMatching(/a\.toml$/), line: 2 },
          },
        ],
        options: { backlog: 4096, v6only: true, mode: 0o666 },
      },
    ]);
    expect(tenant).toEqual({ uids: [], gids: [], units: [] });
    expect(server).toEqual({
      command: [],
      deliver: ["listen-fds"],
      enter: false,
      otherBinds: "refuse",
      anyNamespace: false,
      environment: {},
      inheritEnvironment: true,
      umask: 0o022,
      limits: [{ resource: "nofile", soft: 1024, hard: "keep" }],
      capabilities: [],
      noNamespaces: false,
      console: false,
      lease: "server",
      start: "manual",
      drain: "serve",
      drainText: "This server restarts {when}",
    });
  });

  it("takes every key", () => {
    const spec = berth({
      "etc/a.toml": `
[sockets.game]
listen = ["tcp://127.0.0.1:1", "udp://[::1]:2"]
backlog = 7
receive-buffer = "4M"
send-buffer = 1000
freebind = true
v6only = false
reuse-port = true
device = "lo"
broadcast = true
keep-alive = true
no-delay = true
defer-accept = "15min"
tos = 0x10
priority = 6
mark = 4294967295
packet-info = true
[sockets.1]
listen = ["unix:///run/a"]
mode = "0660"
owner = "games"
group = "70"
[tenant]
users = ["arena-bob", 5, "6"]
groups = ["players"]
units = ["berth@bob.service", "game-*"]
[observer]
users = [7]
[server]
command = ["/bin/x", "{fd:game:1}", "{port:game}", "{address:1:0}", "{other}", "100%%"]
user = "arena-bob"
deliver = []
other-binds = "loopback"
any-namespace = true
environment = { HOME = "/home/{port:game}" }
inherit-environment = false
directory = "/srv"
umask = "077"
limits = { nofile = "512:2048", memlock = "64M", cpu = "unlimited", as = "1G:keep", core = 0 }
capabilities = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE"]
no-namespaces = true
console = true
lease = "process"
start = "on-demand"
stop-after = "15min"
stop-signal = "SIGINT"
stop-timeout = "20s"
drain = "refuse"
drain-text = "Back {when}"
drain-signal = "SIGUSR1"
drain-command = "say bye"
watchdog = "90s"
query = { type = "minecraft", port = 27960, host = "::1" }
asleep = "quake3"
asleep-as = { name = "Bob's", map = "q3dm17", game = "cpma", version = "1.32", slots = 16, protocol = 71 }
wake = "known-address"
known-networks = ["192.0.2.0/24", "2001:db8::/32"]
discard-after = "1min"
`,
    });
    expect(spec.sockets.map(({ name }) => name)).toEqual(["game", "1"]);
    expect(spec.sockets[0]?.options).toEqual({
      backlog: 7,
      mode: 0o666,
      receiveBuffer: 4194304,
      sendBuffer: 1000,
      freebind: true,
      v6only: false,
      reusePort: true,
      device: "lo",
      broadcast: true,
      keepAlive: true,
      noDelay: true,
      deferAccept: 900,
      tos: 16,
      priority: 6,
      mark: 4294967295,
      packetInfo: true,
    });
    expect(spec.sockets[1]?.options).toMatchObject({ mode: 0o660, owner: 60, group: 70 });
    expect(spec.tenant).toEqual({ uids: [1001, 5, 6], gids: [70], units: ["berth@bob.service", "game-*"] });
    expect(spec.server).toEqual({
      command: ["/bin/x", "{fd:game:1}", "{port:game}", "{address:1:0}", "{other}", "100%"],
      enter: false,
      user: bob,
      deliver: [],
      otherBinds: "loopback",
      anyNamespace: true,
      environment: { HOME: "/home/{port:game}" },
      inheritEnvironment: false,
      directory: "/srv",
      umask: 0o077,
      limits: [
        { resource: "nofile", soft: 512, hard: 2048 },
        { resource: "memlock", soft: 67108864, hard: 67108864 },
        { resource: "cpu", soft: "unlimited", hard: "unlimited" },
        { resource: "as", soft: 1073741824, hard: "keep" },
        { resource: "core", soft: 0, hard: 0 },
      ],
      capabilities: [0, 13, 40],
      noNamespaces: true,
      console: true,
      lease: "process",
      start: "on-demand",
      stopAfter: 900,
      stopSignal: 2,
      stopTimeout: 20,
      drain: "refuse",
      drainText: "Back {when}",
      drainSignal: 10,
      drainCommand: "say bye",
      watchdog: 90,
      query: { type: "minecraft", port: 27960, host: "::1" },
      asleep: {
        protocol: "quake3",
        wake: "known-address",
        networks: ["192.0.2.0/24", "2001:db8::/32"],
        as: { name: "Bob's", map: "q3dm17", game: "cpma", version: "1.32", slots: 16, protocol: 71 },
        discardAfter: 60,
        holdLogin: undefined,
      },
    });
    expect(spec.observer).toEqual({ uids: [7], gids: [], units: [] });
  });

  it.each([
    ["limits = { core = 0 }", [{ resource: "core", soft: 0, hard: 0 }]],
    ["limits = {}", []],
  ])("with %s has 1024 open files all the same", (text, more) => {
    const files = { resource: "nofile", soft: 1024, hard: "keep" };
    const { server } = berth({ "etc/a.toml": `${socket}[server]\n${text}\n` });
    expect(server.limits).toEqual([files, ...more]);
  });

  it("looks a group with spaces up as it is written, and takes server.group for the user's own", () => {
    const text = `${socket}[tenant]\ngroups = ["domain users"]\n[server]\nuser = "arena-bob"\ngroup = "domain users"\n`;
    const { tenant, server } = berth({ "etc/a.toml": text });
    expect(tenant.gids).toEqual([513]);
    expect(server.user).toEqual({ ...bob, gid: 513, groups: bob.groups.map((id) => (id === bob.gid ? 513 : id)) });
    for (const name of [" x", "x ", "a\\tb", "a:b"])
      expect(problemsOf(`${socket}[tenant]\ngroups = ["${name}"]\n`)[0]).toContain("is not a name or a numeric id");
  });

  it("with a root needs no socket, and has its defaults or what is written", () => {
    const { root, sockets } = berth({ "etc/a.toml": '[root]\nimage = "arena"' });
    expect(sockets).toEqual([]);
    expect(root).toEqual({
      images: ["arena"],
      state: "persistent",
      shift: "auto",
      nosuid: true,
      nodev: true,
      readOnly: false,
      ready: true,
      binds: [],
    });
    const full = berth({
      "etc/a.toml": `${socket}[root]
image = ["base@12", "/srv/maps of %n"]
state = "volatile"
size = "64M"
inodes = 1000
shift = "metacopy"
nosuid = false
nodev = false
range = 0xA0000
[server]
command = ["/x", "{root}/bin", "{fd:root}"]
`,
    });
    expect(full.root).toEqual({
      images: ["base@12", "/srv/maps of a"],
      state: "volatile",
      size: 67_108_864,
      inodes: 1000,
      shift: "metacopy",
      nosuid: false,
      nodev: false,
      readOnly: false,
      ready: true,
      range: 655_360,
      binds: [],
    });
  });

  it("whose server enters the root runs as an id of its range, and finds what is bound there", () => {
    const rooted = '[root]\nimage = "arena"\n';
    const entered = berth({ "etc/a.toml": `${rooted}[server]\nenter = true` });
    expect(entered.server).toMatchObject({ enter: true, rangeId: 0 });
    expect(entered.server.user).toBeUndefined();
    const { server, root } = berth({
      "etc/a.toml": `${rooted}[root.binds]
"/srv/maps/extra" = { source = "/home/maps", read-only = false }
"/srv/maps" = "/usr/share/maps"
[server]
enter = true
user = "range:1000"`,
    });
    expect(server.rangeId).toBe(1000);
    expect(root?.binds).toEqual([
      { target: "/srv/maps", source: "/usr/share/maps", readOnly: true },
      { target: "/srv/maps/extra", source: "/home/maps", readOnly: false },
    ]);
    expect(berth({ "etc/a.toml": `${rooted}[server]\nuser = "range"` }).server).toMatchObject({
      enter: false,
      rangeId: 0,
    });
  });

  it("may name the eleventh address of a socket, and a socket that is called root", () => {
    const listen = Array.from({ length: 11 }, (_, index) => `"tcp://127.0.0.1:${index + 1}"`).join();
    expect(problemsOf(`[sockets.a]\nlisten = [${listen}]\n[server]\ncommand = ["x", "{port:a:10}"]`)).toEqual([]);
    expect(problemsOf('[sockets.root]\nlisten = ["tcp://*:1"]\n[server]\ncommand = ["x", "{fd:root}"]')).toEqual([]);
  });

  it("binds read-only unless it says otherwise, and leaves out a bind that cannot be read", () => {
    const entered = '[root]\nimage = "arena"\n[server]\nenter = true\n[root.binds]\n';
    expect(berth({ "etc/a.toml": `${entered}"/srv" = { source = "/home/maps" }` }).root?.binds).toEqual([
      { target: "/srv", source: "/home/maps", readOnly: true },
    ]);
    const root = folder({ "a.toml": `${entered}"/a" = 5\n"/b" = { read-only = true }\n"/c" = "/srv"` });
    const { troubled } = loadConfig({ directories: [root], accounts });
    expect(troubled.map(({ draft }) => draft.root?.binds)).toEqual([
      [{ target: "/c", source: "/srv", readOnly: true }],
    ]);
  });

  it("takes the least and the greatest of a number, a size and an id", () => {
    const { tenant } = berth({ "etc/a.toml": `${socket}[tenant]\nusers = [0, 4294967294, "4294967294"]` });
    expect(tenant.uids).toEqual([0, 4294967294, 4294967294]);
    const images = Array(64).fill('"a"').join();
    expect(berth({ "etc/a.toml": `[root]\nimage = [${images}]` }).root?.images).toHaveLength(64);
  });

  it("may be for units of every type, and have an image whose path has a newline", () => {
    const types = "service scope slice socket timer mount swap path target device automount".split(" ");
    const units = types.map((type) => `a.${type}`);
    expect(berth({ "etc/a.toml": `${socket}[tenant]\nunits = ${JSON.stringify(units)}` }).tenant.units).toEqual(units);
    expect(berth({ "etc/a.toml": '[root]\nimage = "/a\\nb"' }).root?.images).toEqual(["/a\nb"]);
  });

  it("has no key for what is not written", () => {
    const spec = berth({ "etc/a.toml": socket });
    expect(Object.keys(spec)).toEqual(["name", "origin", "sockets", "tenant", "server"]);
    expect(Object.keys(spec.server)).not.toContain("user");
    expect(Object.keys(spec.sockets[0]?.options ?? {})).toEqual(["backlog", "v6only", "mode"]);
  });

  it("that runs as an id of its range has no user of the host", () => {
    const { server } = berth({ "etc/a.toml": '[root]\nimage = "arena"\n[server]\nuser = "range:7"' });
    expect([server.rangeId, server.user]).toEqual([7, undefined]);
  });

  it("keeps of a list of images those that can be read, and none when there is no list", () => {
    const root = folder({ "a.toml": '[root]\nimage = ["gold", 5]', "b.toml": "[root]" });
    const { troubled } = loadConfig({ directories: [root], accounts });
    expect(troubled.map(({ draft }) => draft.root?.images)).toEqual([["gold"], []]);
  });

  it("may name a port where the server binds its sockets itself", () => {
    expect(problemsOf(`${socket}[server]\ndeliver = ["bind"]\ncommand = ["x", "{port:game}"]`)).toEqual([]);
  });

  it("may stop for lack of traffic unless all its sockets are unix-dgram", () => {
    const stop = '[server]\ncommand = ["x"]\nstart = "on-demand"\nstop-after = "1h"';
    const blind = '[sockets.a]\nlisten = ["unix-dgram://@a"]\n';
    for (const sockets of [
      '[sockets.a]\nlisten = ["unix://@a"]\n',
      '[sockets.a]\nlisten = ["unix-dgram://@a", "udp://127.0.0.1:1"]\n',
      `${blind}${socket}`,
      '[root]\nimage = "arena"\n',
    ]) {
      expect(problemsOf(sockets + stop)).toEqual([]);
    }
    expect(problemsOf(blind + stop)).toHaveLength(1);
  });

  it("needs an interface for a link-local address alone, and for no other", () => {
    expect(problemsOf('[sockets.a]\nlisten = ["tcp://[fe80::1]:1"]\ndevice = "eth0"')).toEqual([]);
    expect(problemsOf('[sockets.a]\nlisten = ["tcp://[2001:db8:fe80::1]:1"]')).toEqual([]);
  });

  it("has a range to itself", () => {
    const rooted = '[root]\nimage = "x"\nrange = 0xA0000\n';
    expect(load({ "etc/a.toml": rooted, "etc/b.toml": rooted }).problems).toEqual([
      "etc/b.toml:1: b has the same range 0xa0000 as a, etc/a.toml:1 | give one of them another root.range, or remove it and the broker reserves one",
    ]);
  });

  it("of the same text is deeply equal to itself", () => {
    const files = { "etc/a.toml": `${socket}tos = 1\n` };
    const withoutFolder = (spec: unknown): string => JSON.stringify(spec).replaceAll(/"file":"[^"]*"/g, "");
    expect(withoutFolder(berth(files))).toBe(withoutFolder(berth(files)));
  });
});

describe("every mistake is reported at once, with file, line and remedy", () => {
  it("of several files", () => {
    expect(load({ "etc/a.toml": "x = 1\ny = 2\n", "etc/b.toml": "x" }).problems).toHaveLength(4);
    expect(formatProblem({ file: "a.toml", line: 3, message: "wrong", remedy: "right" })).toBe(
      "a.toml:3: wrong\n  right",
    );
  });

  const tcp = '[sockets.game]\nlisten = ["tcp://127.0.0.1:1"]\n';
  const inGame = (line: string): string => socket + line;
  const inTcp = (line: string): string => tcp + line;
  const asleep = 'command = ["x"]\nstart = "on-demand"\nasleep = "quake3"\n';
  const inServer = (line: string): string => `${socket}[server]\n${line}`;
  const inRoot = (line: string): string => `[root]\nimage = "arena"\n${line}`;
  const inBinds = (line: string): string => inRoot(`[server]\nenter = true\n[root.binds]\n${line}`);
  const inTenant = (line: string): string => `${socket}[tenant]\n${line}`;

  const mistakes: readonly (readonly [string, RegExp])[] = [
    // unknown keys
    [inGame("bakclog = 1"), /^3: \[sockets\.game\] has no key "bakclog" \| did you mean "backlog"\?$/],
    [`${socket}[servr]`, /^3: there is no section or key "servr" \| did you mean "server"\?$/],
    [inServer("limits = { nofil = 1 }"), /^4: .*not a resource limit \| did you mean "nofile"\?$/],
    // types
    ["sockets = 1", /^1: sockets is 1, which is not a table \| write a section \[sockets\]$/],
    ['[sockets]\ngame = "x"', /^2: sockets\.game is "x", which is not a table/],
    [
      '[sockets.game]\nlisten = "udp://*:1"',
      /^2: sockets\.game\.listen is "udp:\/\/\*:1", which is not an array \| write listen = \["udp:\/\/\*:1"\]$/,
    ],
    [inGame("freebind = 1"), /^3: .*is 1, which is not true or false/],
    [inGame("device = 3"), /^3: .*is 3, which is not a string \| write it in quotes: "3"$/],
    [inGame("tos = 1979-05-27"), /^3: .*is a date/],
    [inServer('command = "/bin/x -p 5"'), /^4: .*not an array \| write command = \["\/bin\/x", "-p", "5"\]$/],
    [inServer("environment = { PORT = 1 }"), /^4: server\.environment\.PORT is 1, which is not a string/],
    // ranges and forms
    [inGame("tos = 256"), /^3: .*whole number from 0 to 255/],
    [inGame("tos = 1.5"), /^3: .*whole number/],
    [inGame("priority = 7"), /^3: .*from 0 to 6/],
    [inGame("mark = -1"), /^3: .*from 0 to 4294967295/],
    [inTcp("backlog = 0"), /^3: .*whole number from 1/],
    [inGame('receive-buffer = "4 M"'), /^3: .*is "4 M", which is not a size.*"4M"$/],
    [inGame('receive-buffer = "9G"'), /^3: .*not a size from 1 to 1073741823 bytes/],
    [inGame("send-buffer = 0"), /^3: .*not a size/],
    [inTcp('defer-accept = "10"'), /^3: .*not a time.*"10s", "15min"$/],
    [inTcp("defer-accept = 10"), /^3: .*not a time/],
    [inGame('device = "a/b"'), /^3: .*interface/],
    [inServer('umask = "999"'), /^4: .*octal/],
    [inServer("umask = 22"), /^4: .*octal.*"0660"$/],
    [inServer('directory = "srv"'), /^4: .*absolute path/],
    [inServer('limits = { nofile = "2:1" }'), /^4: .*soft limit below/],
    [inServer('limits = { nofile = "unlimited:5" }'), /^4: .*soft limit below/],
    [inServer('limits = { nofile = "4K" }'), /^4: .*is "4K", which is not a limit \(a number\)/],
    [inServer('limits = { as = "1:2:3" }'), /^4: .*not a limit \(bytes\)/],
    [inServer('limits = { as = "keep:1" }'), /^4: .*not a limit/],
    [inServer("start = 5"), /^4: server\.start is 5, which is not a string/],
    [inServer('command = " /bin/x  -p "'), /^4: .*not an array \| write command = \["\/bin\/x", "-p"\]$/],
    [inServer('user = "arrange"'), /^4: server\.user: there is no user "arrange"/],
    [inRoot('[server]\nuser = "range:range"'), /^4: server\.user is "range:range", which is not an id of the range/],
    [inRoot('[server]\nuser = "range"\ngroup = "players"'), /^5: .*server\.user names none/],
    [inTenant('users = ["x12"]'), /^4: tenant\.users: there is no user "x12"/],
    [inTenant('users = ["12x"]'), /^4: tenant\.users: there is no user "12x"/],
    ["[sockets.a]\nlisten = [5]", /^2: sockets\.a\.listen is 5, which is not a string/],
    ["[sockets.a]\nlisten = []\ntos = 1", /^2: .*has no address to listen on/],
    ['sockets = 1\n[root]\nimage = "arena"', /^1: sockets is 1, which is not a table/],
    [inServer('capabilities = ["CAP_NETRAW"]'), /^4: .*not a capability \| did you mean "CAP_NET_RAW"\?$/],
    [inServer("command = []"), /^4: server\.command has no program/],
    [inServer('command = [""]'), /^4: server\.command has no program/],
    [inServer('command = ["/x", "a\\u0000b"]'), /^4: .*NUL/],
    [inServer('environment = { "A-B" = "" }'), /^4: "A-B" cannot name an environment variable/],
    [inServer('environment = { LISTEN_FDS = "1" }'), /^4: .*only the launcher sets LISTEN_/],
    [inTenant('units = ["berth@bob"]'), /^4: .*not a unit's name.*with its type/],
    // what does not exist
    [inTenant('users = ["nobody-here"]'), /^4: tenant\.users: there is no user "nobody-here".*useradd/],
    [inTenant('groups = ["nobody-here"]'), /^4: tenant\.groups: there is no group "nobody-here".*groupadd/],
    [inTenant("users = [4294967295]"), /^4: .*numeric id/],
    [inServer("user = 999"), /^4: server\.user: there is no user 999/],
    [inServer('user = "x"'), /^4: server\.user: there is no user "x"/],
    // options of other kinds of sockets
    [inGame("backlog = 5"), /^3: sockets\.game\.backlog applies to tcp, unix and unix-seqpacket/],
    [inTcp('mode = "0600"'), /^3: sockets\.game\.mode applies to unix sockets with a path/],
    [inTcp("packet-info = true"), /^3: .*applies to udp/],
    [inGame("no-delay = true"), /^3: .*applies to tcp,/],
    [inGame("v6only = true"), /^3: .*over IPv6/],
    ['[sockets.a]\nlisten = ["unix://@a"]\nowner = 1', /^3: .*unix sockets with a path/],
    ['[sockets.a]\nlisten = ["unix:///a"]\nreuse-port = true', /^3: .*applies to tcp and udp/],
    ['[sockets.a]\nlisten = ["tcp://*:1"]\nv6only = true', /^3: .*contradicts its address \*/],
    ['[sockets.a]\nlisten = ["tcp://[::ffff:1.2.3.4]:1"]', /^2: .*is an IPv4 address/],
    ['[sockets.a]\nlisten = ["tcp://[fe80::1]:1"]', /^2: .*link-local.*\[fe80::1%%eth0\]/],
    // sockets
    ["# nothing", /^1: a has no sockets/],
    ["[sockets]", /^1: a has no sockets/],
    ["\n[sockets.game]", /^2: \[sockets\.game\] has no address to listen on/],
    ["[sockets.game]\nlisten = []", /^2: .*has no address to listen on/],
    ['[sockets."a:b"]\nlisten = ["tcp://*:1"]', /^1: "a:b" cannot name a socket/],
    // placeholders
    [
      inServer('command = [\n"/x",\n"{fd:gane}"]'),
      /^6: \{fd:gane\}: this berth has no socket "gane".*did you mean "game"\?$/,
    ],
    [inServer('command = ["/x", "{fd:game:1}"]'), /^4: .*socket game has one address: index 0 \| write \{fd:game:0\}$/],
    [inServer('command = ["/x", "{fd:game:x}"]'), /^4: .*socket game has one address: index 0 \| write \{fd:game:0\}$/],
    [inServer('command = ["/x", "-p={port}"]'), /^4: \{port\} is not complete/],
    [inServer('environment = { A = "{address:b}" }'), /^4: \{address:b\}: this berth has no socket "b"/],
    ['[sockets.a]\nlisten = ["unix:///a"]\n[server]\ncommand = ["x", "{port:a}"]', /^4: .*has no port/],
    [inServer('command = ["/x", "{root}"]'), /^4: \{root\}: this berth has no root \| add \[root\] with image/],
    [inServer('command = ["/x", "{fd:root}"]'), /^4: \{fd:root\}: this berth has no root/],
    [inRoot('[server]\ncommand = ["x", "{root:a}"]'), /^4: \{root:a\} is not complete/],
    [inRoot('[server]\ncommand = ["x", "{fd:root:0}"]'), /^4: .*the root has no index \| write \{fd:root\}$/],
    [inRoot('[server]\ncommand = ["x", "{root}"]\ndeliver = ["bind"]'), /^4: \{root\}: with deliver = \["bind"\]/],
    // roots
    ["[root]", /^1: \[root\] has no image/],
    ["[root]\nimage = []", /^2: root\.image is an array, which is not one to 64 images/],
    ['[root]\nimage = "a/b"', /^2: root\.image is "a\/b", which is not an image \| write its name/],
    ['[root]\nimage = ["a", "b@c@d"]', /^2: root\.image is "b@c@d"/],
    [inRoot('state = "tmp"'), /^3: .*not one of persistent, volatile/],
    [inRoot('size = "1M"'), /^3: root\.size has no effect: a persistent root is as large as its disk/],
    [inRoot('state = "volatile"\nsize = "lots"'), /^4: root\.size/],
    [inRoot("inodes = 1000"), /^3: root\.inodes has no effect: a persistent root is as large as its disk/],
    [inRoot('state = "volatile"\ninodes = 0'), /^4: root\.inodes is 0, which is not a whole number from 16/],
    [inRoot('shift = "chown"'), /^3: .*not one of auto, idmap, metacopy, none/],
    [inRoot('read-only = true\nstate = "volatile"'), /^4: root\.state has no effect: nothing is ever written/],
    [
      inRoot("range = 65537"),
      /^3: root\.range is 65537, which is not a multiple of 0x10000 from 0x10000 to 0x7fff0000/,
    ],
    [inRoot("range = 0"), /^3: root\.range/],
    [inRoot("range = 0x80000000"), /^3: root\.range/],
    [inRoot('range = 0xa0000\nshift = "none"'), /^3: root\.range has no effect: with shift = "none"/],
    [inServer("enter = true"), /^4: server\.enter needs a root, and this berth has none \| add \[root\]/],
    [inServer('user = "range:7"'), /^4: server\.user is an id of the berth's range, .* \| add \[root\]/],
    [inRoot('[server]\nuser = "range:65536"'), /^4: server\.user is "range:65536", which is not an id of the range/],
    [inRoot('[server]\nuser = "range:x"'), /^4: server\.user is "range:x"/],
    [inRoot('[server]\nenter = true\nuser = "games"'), /^5: .*user of the host.* \| write user = "range"/],
    [inRoot('[server]\nenter = true\ncommand = ["x", "{root}"]'), /^5: \{root\}: with server\.enter the root is \//],
    [
      inRoot('binds = { "/srv" = "/srv" }'),
      /^3: \[root\.binds\] has no effect unless .* \| add enter = true to \[server\]$/,
    ],
    [inBinds('"srv" = "/srv"'), /^6: root\.binds: "srv" is not an absolute path/],
    [inBinds('"/srv/../etc" = "/srv"'), /^6: root\.binds: "\/srv\/\.\.\/etc" is not an absolute path without/],
    [inBinds('"/srv/" = "/srv"'), /^6: root\.binds: "\/srv\/" is not/],
    [inBinds('"/" = "/srv"'), /^6: root\.binds: "\/" is filled by the launcher itself/],
    [inBinds('"/proc/x" = "/srv"'), /^6: .*filled by the launcher itself/],
    [inBinds('"/srv" = "srv"'), /^6: root\.binds\.\/srv is "srv", which is not an absolute path/],
    [inBinds('"/srv" = { read-only = true }'), /^6: root\.binds\.\/srv has no source \| add source/],
    [
      inBinds('"/srv" = { source = "/a", readonly = true }'),
      /^6: .*has no key "readonly" \| did you mean "read-only"\?$/,
    ],
    [inRoot('[sockets.root]\nlisten = ["tcp://*:1"]'), /^3: a berth with \[root\] cannot have a socket called "root"/],
    // specifiers
    [inServer('command = ["%i"]'), /^4: "%i" has the unknown specifier "%i" \| only a berth TEMPLATE@INSTANCE has %i/],
    [inServer('command = ["50%"]'), /^4: .*or %% for a percent sign$/],
    // not in this version
    // starting and stopping
    [inServer('start = "on-demnd"'), /^4: .*did you mean "on-demand"\?$/],
    [inServer('start = "on-demand"'), /^4: server\.start is "on-demand", but there is no server\.command/],
    [
      inServer('command = ["x"]\nstop-after = "10s"'),
      /^5: .*would stop a server that nothing starts again \| add start = "on-demand"/,
    ],
    [inServer('command = ["x"]\nstart = "on-demand"\nstop-after = 10'), /^6: .*not a time/],
    [
      inServer('command = ["x"]\nstart = "on-demand"\nstop-after = "1h"\nstop-signal = "KILL"'),
      /^7: .*not the name of a signal that a server can handle/,
    ],
    [
      inServer('command = ["x"]\ndrain-command = "say bye"'),
      /^5: server.drain-command is typed on the server's console, and it has none \| add console = true/,
    ],
    [inServer('console = true\ndrain-command = ""'), /^5: .*not one line without control characters/],
    [inServer('console = true\ndrain-command = "say\\tbye"'), /^5: .*not one line without control characters/],
    [
      inServer('drain = "queue"'),
      /^4: server.drain = "queue" can hold no joins back: berthd does not know how a client/,
    ],
    [inServer('drain = "queue"\nquery = { type = "valheim" }'), /^4: server.drain = "queue" can hold no joins back/],
    [
      inServer('drain = "refuse"\nquery = { type = "minecraft" }'),
      /^4: server.drain = "refuse" can tell players of this server nothing \| add a tcp:\/\/ address to listen, or write/,
    ],
    [
      inServer('drain = "refuse"\nquery = { type = "quake3" }').replace("udp:", "tcp:"),
      /^4: server.drain = "refuse" can tell players of this server nothing \| add a udp:\/\/ address to listen, or write/,
    ],
    [
      inServer('drain = "refuse"\nquery = { type = "bedrock" }'),
      /^4: server.drain = "refuse" can tell .* \| add query = .* one of minecraft, quake3, a2s, valve, goldsrc, teeworlds,/,
    ],
    [
      inServer('drain = "serve"\ndrain-text = "Back {when}"'),
      /^5: server.drain-text does nothing without drain = "refuse"/,
    ],
    ...[" ", "a\\tb", "é".repeat(101)].map((text): [string, RegExp] => [
      inServer(`drain = "refuse"\nquery = { type = "minecraft" }\ndrain-text = "${text}"`).replace("udp:", "tcp:"),
      /^6: server.drain-text is .* not one line of at most 200 bytes without control characters/,
    ]),
    [inServer('drain = "wait"'), /^4: server.drain is "wait", which is not one of serve, queue, refuse/],
    [inServer('drain-signal = "KILL"'), /^4: .*not the name of a signal that a server can handle/],
    [
      inServer('group = "players"'),
      /^4: server\.group is the group of a user of the host, and server\.user names none/,
    ],
    [inServer('watchdog = "8days"'), /^4: .*not a time/],
    [
      '[sockets.a]\nlisten = ["unix-dgram://@a"]\n[server]\ncommand = ["x"]\nstart = "on-demand"\nstop-after = "1h"',
      /^6: .*cannot see the traffic of unix-dgram sockets/,
    ],
    [inServer('other-binds = "deny"'), /^4: .*other-binds/],
    [
      inServer('deliver = ["bind"]\ncommand = ["/x", "{fd:game}"]'),
      /^5: \{fd:game\}: with deliver = \["bind"\] the server gets no descriptor numbers/,
    ],
    [inServer('deliver = ["listen-fd"]'), /^4: .*did you mean "listen-fds"\?$/],
    // the same in other ways
    [inGame("zzzzzzzz = 1"), /^3: .*has no key "zzzzzzzz" \| write one of: listen, backlog/],
    [`zzzzzzzz = 1\n${socket}`, /^1: there is no section or key "zzzzzzzz" \| write one of: sockets, root/],
    [inGame("device = true"), /^3: .*is true, which is not a string \| write "…" in quotes$/],
    [inGame("device = []"), /^3: .*is an array, which is not a string/],
    [inGame("device = {}"), /^3: .*is a table, which is not a string/],
    [inServer('user = "range:-1"'), /^4: server\.user is "range:-1"/],
    [inServer("user = true"), /^4: server\.user is true/],
    [inServer('user = "games"\ngroup = -1'), /^5: server\.group/],
    [inServer('command = { a = "b" }'), /^4: .*write command = \[…\]$/],
    [inServer("command = 5"), /^4: .*write command = \[5\]$/],
    [inServer("environment = 5"), /^4: .*is 5, which is not a table/],
    [inServer('environment = { "" = "" }'), /^4: "" cannot name an environment variable/],
    [inServer('environment = { "1A" = "" }'), /^4: "1A" cannot name an environment variable/],
    [inServer('environment = { "A B" = "" }'), /^4: "A B" cannot name an environment variable/],
    [inServer("limits = { as = true }"), /^4: .*not a limit \(bytes\)/],
    [inServer("limits = { as = [] }"), /^4: .*not a limit \(bytes\)/],
    [inServer('limits = { as = "1:x" }'), /^4: .*not a limit \(bytes\)/],
    [inServer('limits = { cpu = "x" }'), /^4: .*not a limit \(seconds\)/],
    [inServer('limits = { rttime = "x" }'), /^4: .*not a limit \(microseconds\)/],
    [inServer('limits = { nofile = "5x" }'), /^4: .*not a limit \(a number\)/],
    [inServer('limits = { nofile = "x5" }'), /^4: .*not a limit \(a number\)/],
    [inServer("capabilities = [1]"), /^4: .*is 1, which is not a string/],
    [inServer('umask = "00022"'), /^4: .*octal/],
    [inServer('umask = "022x"'), /^4: .*octal/],
    [inServer('umask = "1022"'), /^4: .*octal/],
    [inServer('directory = "a/b"'), /^4: .*absolute path/],
    [inServer('watchdog = "7days"'), /^4: .*not a time/],
    [inServer('watchdog = "169h"'), /^4: .*not a time/],
    [inServer('watchdog = "0s"'), /^4: .*not a time/],
    [inServer('watchdog = "x1s"'), /^4: .*not a time/],
    [inServer('watchdog = "1sx"'), /^4: .*not a time/],
    [inGame('receive-buffer = "x4M"'), /^3: .*not a size/],
    [inGame('receive-buffer = "4Mx"'), /^3: .*not a size/],
    [inGame("receive-buffer = 1.5"), /^3: .*not a size/],
    [inGame("receive-buffer = []"), /^3: .*not a size/],
    [inGame('receive-buffer = "99999999999999999"'), /^3: .*not a size/],
    [inTenant('units = ["a b.service"]'), /^4: .*not a unit's name/],
    [inTenant('units = ["a/b.service"]'), /^4: .*not a unit's name/],
    [inTenant('units = ["[ab].service"]'), /^4: .*not a unit's name/],
    [inTenant('units = ["a].service"]'), /^4: .*not a unit's name/],
    [inTenant('units = [""]'), /^4: .*not a unit's name/],
    [inTenant("units = [1]"), /^4: .*not a string/],
    [inTenant("users = [1.5]"), /^4: .*numeric id/],
    [inTenant("users = [-1]"), /^4: .*numeric id/],
    [inTenant("users = [true]"), /^4: tenant\.users is true/],
    [inTenant('users = [""]'), /^4: tenant\.users/],
    [inTenant("groups = [4294967295]"), /^4: tenant\.groups/],
    ['[sockets.a]\nlisten = ["tcp://[::FFFF:1.2.3.4]:1"]', /^2: .*is an IPv4 address/],
    [
      '[sockets.a]\nlisten = ["tcp://[fec0::1]:1", "tcp://[febf::1]:1", "tcp://[fe80::1%%a]:1"]',
      /^2: \[febf::1\] is link-local/,
    ],
    ['[sockets.a]\nlisten = ["tcp://1.2.3.4"]', /^2: sockets\.a\.listen: "tcp:\/\/1\.2\.3\.4" does not end in/],
    ['[sockets.a]\nlisten = ["tcp://*:1"]\n[server]\ncommand = ["x", "{port:zzzzzz}"]', /^4: .*write one of: a$/],
    [
      '[sockets.a]\nlisten = ["tcp://*:1", "tcp://*:2"]\n[server]\ncommand = ["x", "{port:a:2}"]',
      /^4: .*socket a has 2 addresses: index 0 to 1 \| write \{port:a:0\}$/,
    ],
    [inServer('command = ["/x", "{fd:game:0000}"]'), /^4: .*socket game has one address/],
    ['[sockets.a]\nlisten = []\n[server]\ncommand = ["x", "{fd:a}"]', /^2: .*has no address to listen on/],
    [inServer('command = ["/x", "{fd}"]'), /^4: \{fd\} is not complete/],
    [inServer('command = ["/x", "{port:root}"]'), /^4: \{port:root\}: this berth has no socket "root"/],
    [inRoot('[server]\ncommand = ["x", "{fd:game}"]'), /^4: .*no socket "game" \| add \[sockets\.game\] with listen/],
    [
      inRoot('[server]\ncommand = ["x", "{fd:root}"]\ndeliver = ["bind"]'),
      /^4: \{fd:root\}: with deliver = \["bind"\]/,
    ],
    [inRoot('[server]\nenter = true\ncommand = ["x", "{fd:root}"]'), /^5: \{fd:root\}: with server\.enter/],
    ['[root]\nimage = ""', /^2: root\.image is ""/],
    ['[root]\nimage = "a@"', /^2: root\.image is "a@"/],
    ['[root]\nimage = "@a"', /^2: root\.image is "@a"/],
    ['[root]\nimage = ".a"', /^2: root\.image is "\.a"/],
    [`[root]\nimage = "${"a".repeat(65)}"`, /^2: root\.image is "a{65}"/],
    [`[root]\nimage = [${Array(65).fill('"a"').join()}]`, /^2: root\.image is an array, which is not one to 64 images/],
    [inRoot('state = "volatile"\nsize = 0'), /^4: root\.size is 0, which is not a size/],
    [inRoot('state = "volatile"\ninodes = 15'), /^4: root\.inodes is 15, which is not a whole number from 16/],
    [inRoot("read-only = true\nsize = 5"), /^4: root\.size has no effect: nothing is ever written/],
    [inRoot("read-only = true\ninodes = 50"), /^4: root\.inodes has no effect: nothing is ever written/],
    [inRoot('range = "x"'), /^3: root\.range is "x"/],
    [inBinds('"/dev/shm" = "/srv"'), /^6: .*filled by the launcher itself/],
    [inBinds('"/tmp" = "/srv"'), /^6: .*filled by the launcher itself/],
    [inBinds('"/run" = "/srv"'), /^6: .*filled by the launcher itself/],
    [inBinds('"/dev" = "/srv"'), /^6: .*filled by the launcher itself/],
    [inBinds('"/proc" = "/srv"'), /^6: .*filled by the launcher itself/],
    [inBinds('"/a\\u0000" = "/srv"'), /^6: .*is not an absolute path without/],
    [inBinds('"/a" = { source = "a" }'), /^6: root\.binds\.\/a\.source is "a", which is not an absolute path/],
    [inBinds('"/a" = "a/b"'), /^6: root\.binds\.\/a is "a\/b", which is not an absolute path/],
    [inBinds('"/a" = 5'), /^6: root\.binds\.\/a is 5, which is not a string/],
    [inServer('command = ["%t"]'), /^4: "%t" has the unknown specifier "%t" \| only a berth TEMPLATE@INSTANCE has %i/],
    [inServer('command = ["%x"]'), /^4: "%x" has the unknown specifier "%x" \| write %i \(instance\)/],
    [inServer('command = ["x"]\nstart = "on-demand"\nstop-after = "1h"\nstop-signal = "SIGSTOP"'), /^7: .*signal/],
    [inServer('command = ["x"]\nstart = "on-demand"\nstop-after = "1h"\nstop-signal = 15'), /^7: .*signal/],
    [inServer('command = ["x"]\nstart = "on-demand"\nstop-after = "1h"\nstop-timeout = "25h"'), /^7: .*not a time/],
    [inServer('query = "quake3"'), /^4: server\.query is "quake3", which is not a table \| write \{ type/],
    [inServer('query = { type = "Quake 3" }'), /^4: server\.query\.type .* not 1 to 32 of a-z 0-9 - /],
    [inServer('query = { type = "a2s", port = 0 }'), /^4: server\.query\.port .* from 1 to 65535/],
    [inServer('query = { type = "a2s", host = "a b" }'), /^4: server\.query\.host .*not an address/],
    [inServer('query = { type = "a2s", ports = 1 }'), /^4: server\.query has no key "ports" \| did you mean "port"/],
    [inServer("query = { port = 1 }"), /^4: server\.query has no type \| write \{ type = "quake3"/],
    [
      '[sockets.a]\nlisten = ["unix:///run/a"]\n[server]\nquery = { type = "a2s" }',
      /^4: .* no port, and the berth has/,
    ],
    [inServer('asleep = "quake3"'), /^4: server\.asleep is for a server that starts on demand/],
    [
      `[sockets.a]\nlisten = ["tcp://127.0.0.1:5154"]\n[server]\n${asleep}`,
      /^6: server\.asleep = "quake3" needs a udp socket, and the berth has none/,
    ],
    [
      `[sockets.a]\nlisten = ["unix:///run/a"]\n[server]\n${asleep.replace("quake3", "minecraft")}`,
      /^6: server\.asleep = "minecraft" needs a tcp or udp socket/,
    ],
    [inServer('asleep = "doom"'), /^4: server\.asleep is "doom", which is not one of a2s, /],
    [inServer('wake = "any"'), /^4: server\.wake does nothing without server\.asleep/],
    [inServer("asleep-as = { slots = 1 }"), /^4: server\.asleep-as does nothing without server\.asleep/],
    [inServer('discard-after = "5s"'), /^4: server\.discard-after does nothing without/],
    [inServer('hold-login = "5s"'), /^4: server\.hold-login does nothing without/],
    [inServer(`${asleep}hold-login = "5s"`), /^7: server\.hold-login is for Minecraft Java, whose players join by TCP/],
    [
      inServer(`${asleep.replace("quake3", "minecraft")}hold-login = "5s"`),
      /^7: server\.hold-login is for Minecraft Java, whose players join by TCP/,
    ],
    [
      `${socket}[sockets.b]\nlisten = ["unix:///run/b"]\n[server]\n${asleep.replace("quake3", "minecraft")}hold-login = "5s"`,
      /^9: server\.hold-login is for Minecraft Java, whose players join by TCP/,
    ],
    [
      `${tcp}defer-accept = "5s"\n[server]\n${asleep.replace("quake3", "minecraft")}hold-login = "5s"`,
      /^8: server\.hold-login holds no login at a socket with defer-accept \| remove hold-login, or defer-accept$/,
    ],
    [
      `[sockets.a]\nlisten = ["tcp://127.0.0.1:5154"]\n[server]\n${asleep.replace("quake3", "minecraft")}hold-login = "29s"`,
      /^7: server\.hold-login is "29s", .* from 1 to 28 seconds/,
    ],
    [inServer(`${asleep}known-networks = ["::/0"]`), /^7: server\.known-networks does nothing without wake = "known-/],
    [inServer(`${asleep}wake = "known-address"\nknown-networks = ["10.0.0.1"]`), /^8: .* which is not ADDRESS\/BITS/],
    [inServer(`${asleep}wake = "known-address"\nknown-networks = ["10.0.0.0/33"]`), /^8: .* not ADDRESS\/BITS/],
    [inServer(`${asleep}wake = "known-address"`), /^7: server\.wake = "known-address" without a network lets nobody/],
    [inServer(`${asleep}wake = "known-address"\nknown-networks = []`), /^7: server\.wake = "known-address" without a/],
    [
      inServer(`${asleep}wake = "known-address"\nknown-networks = [${'"192.0.2.0/24", '.repeat(201)}]`),
      /^8: server\.known-networks has more than 200 networks/,
    ],
    [inServer(`${asleep}asleep-as = { nam = "x" }`), /^7: server\.asleep-as has no key "nam" \| did you mean "name"/],
    [inServer(`${asleep}asleep-as = { slots = -1 }`), /^7: server\.asleep-as\.slots is -1, which is not a whole/],
    [inServer(`${asleep}asleep-as = { map = 5 }`), /^7: server\.asleep-as\.map is 5, which is not a string/],
    [inServer(`${asleep}asleep-as = "x"`), /^7: server\.asleep-as is "x", which is not a table/],
    [inServer(`${asleep}asleep-as = { name = "${"x".repeat(257)}" }`), /^7: .*\.name is longer than 256 characters/],
    [`${socket}[observer]\nuser = ["x"]`, /^4: \[observer\] has no key "user" \| did you mean "users"/],
  ];

  it.each(mistakes)("in %j", (toml, expected) => {
    expect(problemsOf(toml)).toEqual([expect.stringMatching(expected)]);
  });

  it("in the very words of mistakes.txt, which `npm test -- test/config/keys -u` writes", async () => {
    const blocks = mistakes.map(
      ([toml]) =>
        `${toml}\n${problemsOf(toml)
          .map((problem) => `=> ${printable(problem)}\n`)
          .join("")}`,
    );
    await expect(blocks.join("\n")).toMatchFileSnapshot("mistakes.txt");
  });

  it("of one file, in the order of its lines", () => {
    const problems = problemsOf(
      `${socket}tos = 999\nmode = "0600"\n[tenant]\nusers = ["x",\n"y"]\n[server]\ncommand = [1]\n`,
    );
    expect(problems.map((problem) => problem.split(":")[0])).toEqual(["3", "4", "6", "7", "9"]);
  });

  it("keeps a berth to the descriptors that one message carries", () => {
    const addresses = (count: number): string =>
      Array.from({ length: count }, (_, index) => `"tcp://127.0.0.1:${index + 1}"`).join();
    expect(problemsOf(`[sockets.a]\nlisten = [${addresses(250)}]`)).toEqual([]);
    expect(problemsOf(`[sockets.a]\nlisten = [${addresses(251)}]`)).toEqual([
      expect.stringMatching(/^1: this berth listens on 251 addresses.* \| move some of them to another berth$/),
    ]);
  });

  it("is not misled by keys that JavaScript knows", () => {
    const problems = problemsOf(`${socket}__proto__ = 1\nconstructor = 2\n[toString]\n`);
    expect(problems).toHaveLength(3);
    expect(
      berth({ "etc/a.toml": `${socket}[server.environment]\n__proto__ = "x"\n` }).server.environment,
    ).toHaveProperty(["__proto__"], "x");
  });
});

it("every limit of setrlimit(2) is known, with what it counts", () => {
  const of = (unit: string): string[] => [...limitUnits].filter(([, one]) => one === unit).map(([name]) => name);
  expect([...limitUnits.keys()]).toHaveLength(16);
  expect(of("bytes")).toEqual(["as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"]);
  expect(of("a number")).toEqual(["locks", "nice", "nofile", "nproc", "rtprio", "sigpending"]);
  expect([of("seconds"), of("microseconds")]).toEqual([["cpu"], ["rttime"]]);
});

describe("configurationKeys", () => {
  it("lists every key once with its type, default and unit", () => {
    const keys = configurationKeys();
    expect(new Set(keys.map(({ section, key }) => `${section}.${key}`)).size).toBe(keys.length);
    expect(keys).toContainEqual({
      section: "sockets.NAME",
      key: "backlog",
      type: "integer",
      default: "4096",
      unit: "connections",
      appliesTo: "tcp, unix and unix-seqpacket",
    });
  });
});
