/** What a host runs for the fleet: a program that can write to etcd does not become root on the host. */
import { describe, expect, it } from "vitest";
import { problemOf, type Rules } from "../../../packages/fleet/src/agent/rules/rules.ts";
import type { JsonObject } from "../../../packages/fleet/src/index.ts";
import { documentedKeys } from "../../docs/key-lists.ts";
import { read, section, tableRows } from "../../docs/markdown.ts";

const passwd =
  "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\ngames:x:5:60::/:/bin/sh\netcd:x:105:1::/:/bin/sh\n";
const none: Rules = { users: [], commands: [], keys: [], sockets: ["/run/arena"], ports: [{ first: 80, last: 81 }] };
const problem = (config: JsonObject, rules: Partial<Rules> = {}): string | undefined =>
  problemOf({ berth: "a-1", config }, { ...none, ...rules }, () => passwd);
const runsAs = (user: string | number): JsonObject => ({ server: { command: ["/srv/a"], user } });

describe("a user", () => {
  it.each(["games", "5", 5, 4711, "etcd", "root", "toor", 0, "0", "00", "nobody-knows"])(
    "%j runs servers only if it is named",
    (user) => {
      expect(problem(runsAs(user))).toBe(
        `this host runs no server as user ${JSON.stringify(user)} for the fleet; --allow-user of its agent allows it`,
      );
      expect(problem(runsAs(user), { users: ["sys", String(user)] })).toBe(undefined);
      expect(problem(runsAs(user), { users: ["sys"] })).toMatch(`as user ${JSON.stringify(user)}`);
    },
  );
  it.each(["range", "range:1000"])("%j needs no name", (user) => expect(problem(runsAs(user))).toBe(undefined));
  it("is the same by name and by id", () => {
    expect(problem(runsAs(5), { users: ["games"] })).toBe(undefined);
    expect(problem(runsAs("games"), { users: ["5"] })).toBe(undefined);
    expect(problem(runsAs("toor"), { users: ["root"] })).toBe(undefined);
    expect(problem(runsAs("etcd"), { users: ["games", "5"] })).toMatch('as user "etcd"');
  });
  it.each([-1, 1.5, 2 ** 32, 2 ** 32 - 1, "4294967296", "root%i", "%n", "", " root", "a:b", "a\nb", true, [5], {}])(
    "%j is none",
    (user) => {
      const users = [String(user)];
      expect(problem({ server: { user } }, { users })).toMatch('must be "range", a user\'s name, or an id from 1 to');
    },
  );
});

it.each([
  ["/srv/arena/server", true],
  ["/srv/tool", true],
  ["/srv/arena-2/server", false],
  ["/srv/arena/../../bin/sh", false],
  ["/srv/tool/x", true],
  ["/srv/arena/%n", false],
  ["/srv/arena/{root}", false],
  ["server", false],
  ["/bin/sh", false],
])("the command %s: %s", (program, isAllowed) => {
  const found = problem({ server: { command: [program] } }, { commands: ["/srv/arena", "/srv/tool"] });
  if (isAllowed) expect(found).toBe(undefined);
  else expect(found).toBe(`this host does not run "${program}" for the fleet; --allow-command of its agent allows it`);
  expect(problem({ server: { command: [program] } })).toBe(undefined);
});

it("without a command nothing is run where commands are named", () => {
  expect(problem({ server: {} }, { commands: ["/srv"] })).toMatch("does not run null");
});

const arena = { command: ["/srv/arena"] };
it.each([
  ["server.enter", { enter: true }],
  ["server.environment.LD_PRELOAD", { environment: { A: "", LD_PRELOAD: "/tmp/a.so" } }],
  ...["LD_AUDIT", "GCONV_PATH", "BASH_ENV", "ENV", "SHELLOPTS", "PS4", "JAVA_TOOL_OPTIONS", "NODE_OPTIONS"].map(named),
  ...["PERL5OPT", "PYTHONPATH", "PYTHONSTARTUP", "_JAVA_OPTIONS", "RUBYOPT", "LUA_INIT"].map(named),
])("%s is refused unless it is allowed where commands are named", (key, more) => {
  const config = { server: { ...arena, ...more } };
  expect(problem(config, { commands: ["/srv"] })).toMatch(`--allow-key ${key} of its agent allows it`);
  expect(problem(config, { commands: ["/srv"], keys: [key] })).toBe(undefined);
  expect(problem(config)).toBe(undefined);
});

function named(variable: string): [string, JsonObject] {
  return [`server.environment.${variable}`, { environment: { [variable]: "x" } }];
}

it.each([{ enter: false }, { environment: { PORT: "1", BUILD: "2", OPTIONS: "-v" } }])(
  "%j is the server's own where commands are named",
  (more) => expect(problem({ server: { ...arena, ...more } }, { commands: ["/srv"] })).toBe(undefined),
);

it.each([
  ["server.limits.rtprio", { server: { limits: { nofile: 1, rtprio: 99 } } }],
  ["server.limits.nice", { server: { limits: { nice: 40 } } }],
  ["server.limits.memlock", { server: { limits: { memlock: "unlimited" } } }],
  ["server.capabilities", { server: { capabilities: ["sys_admin"] } }],
  ["server.group", { server: { group: "shadow" } }],
  ["root.binds", { root: { image: "a", binds: { "/x": "/etc" } } }],
  ["root.shift", { root: { image: "a", shift: "none" } }],
  ["root.nosuid", { root: { image: "a", nosuid: false } }],
  ["root.image", { root: { image: ["a", "/etc"] } }],
  ["root.image", { root: { image: "/" } }],
  ["sockets.owner", { sockets: { a: { listen: ["unix:///run/arena/a"], owner: "root" } } }],
])("%s is refused unless it is allowed", (key, config) => {
  expect(problem(config)).toMatch(`--allow-key ${key} of its agent allows it`);
  expect(problem(config, { keys: [key] })).toBe(undefined);
});

describe("an address", () => {
  const listen = (address: string): string | undefined => problem({ sockets: { game: { listen: [address] } } });
  it.each([
    ...[
      "udp://0.0.0.0:1024",
      "tcp://[::]:27960",
      "udp://*:0",
      "tcp://[fe80::1%%eth0]:5000",
      "tcp://*:80",
      "tcp://*:0081",
    ],
    ...["unix://@arena", "unix-seqpacket://@arena-%n", "unix:///run/arena/a", "unix-dgram:///run/arena/%n/log"],
  ])("%s is taken", (address) => expect(listen(address)).toBe(undefined));
  it.each([
    ...["unix:///var/run/nscd/socket", "unix-dgram:///dev/log", "unix-seqpacket:///run/udev/control"],
    ...["unix:///run/arena", "unix:///run/arena/", "unix:///run/arena-2/a", "unix:///run/arena/../nscd/socket"],
    ...["unix:///run/arena//a", "unix:///run/arena/./a", "unix:////run/arena/a", "unix:///run/%n"],
  ])("%s is refused: root would bind it", (address) => {
    expect(listen(address)).toMatch(/^this host takes no socket ".*" from the fleet; --allow-socket /);
  });
  it.each(["udp://0.0.0.0:53", "tcp://[::]:22", "tcp://*:1023", "tcp://*:0079", "tcp://*:82"])(
    "%s is refused: its port is below 1024",
    (address) => expect(listen(address)).toMatch(/^this host takes no port \d+ from the fleet; --allow-port \d+ of/),
  );
  it.each([
    ...["", "/var/run/nscd/socket", "unix:/run/nscd/socket", "UNIX:///run/nscd/socket", " unix://@a", "unix://a"],
    ...["unix://\0/run/arena/a", "tcp://*:%n", "udp://0.0.0.0:2%%2", "tcp://*:22 ", "tcp://localhost:2000", "fd://3"],
    ...["unix:///run/arena/a\0b", "tcp://*:000022"],
  ])("%j is none that can be judged, and is refused", (address) => {
    expect(listen(address)).toBe(`${JSON.stringify(address)} is no address that a berth of the fleet can have`);
  });
});

it.each(["arena", "arena-0", "arena-01", "arena-", "web@1", "arena-123456"])("%s is no berth of a set", (berth) => {
  expect(problemOf({ berth, config: {} }, none)).toBe(
    "a berth of the fleet has the name of a set and a number, as arena-1",
  );
});

it.each(["sockets.NAME", "root", "tenant", "observer", "server"])(
  "docs/fleet.md names the keys of [%s] that are refused, and no other",
  (heading) => {
    const [name = ""] = heading.split(".");
    const refused = documentedKeys(heading).flatMap(([key]) => {
      const table = { [key]: "x" };
      const why = problem({ [name]: name === "sockets" ? { game: { listen: [], ...table } } : table });
      return why?.startsWith(`this host takes no ${name}.${key} from the fleet`) ? [key] : [];
    });
    const cells = tableRows(section(read("docs/fleet.md"), "### What an agent refuses")).map(([cell = ""]) => cell);
    const [ofSockets = ""] = cells.filter((cell) => cell.endsWith(" of a socket"));
    const named =
      name === "sockets"
        ? ofSockets.matchAll(/`([\w-]+)`/g)
        : cells.join(" ").matchAll(new RegExp(`\\b${name}\\.([\\w-]+)`, "g"));
    // These are refused for what they have.
    const judged = name === "server" ? ["user", "command", "enter", "limits"] : [];
    expect(new Set([...refused, ...judged])).toEqual(new Set(Array.from(named, ([, key]) => key)));
  },
);

it("a section that no berth of the fleet has is refused", () => {
  expect(problem({ constructor: {} })).toBe("a berth of the fleet has no section constructor");
});

it("a file that is none is refused with the place", () => {
  expect(problem({ sockets: { game: { listen: "udp://0.0.0.0:1" } } })).toBe(
    "a-1: sockets.game: listen: must be a list, and is a string",
  );
  for (const section of ["server", "root", "tenant", "operator", "observer"])
    for (const value of [[], "x", 1, true, [{ user: "root" }]])
      expect(problem({ [section]: value })).toBe(`${section} must be a table`);
  expect(problem({ sockets: [] })).toBe("a-1: sockets: must be a table, and is a list");
});
