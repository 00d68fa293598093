/** The command line of `berth-fleet`: help, wrong usage, and that the manual and the page are true. */
import { parse } from "smol-toml";
import { expect, it, test } from "vitest";
import * as usages from "../../packages/fleet/src/cli/usage.ts";
import { berthSet } from "../../packages/fleet/src/index.ts";
import { read, section, tableRows } from "../docs/markdown.ts";
import { runFleet } from "../support/fleet/host.ts";
import { freePort } from "../support/ports.ts";

/** As `berth-fleet --help` lists them. */
const commands = Array.from(usages.usage.matchAll(/^ {2}([a-z]+)/gm), ([, name = ""]) => name);

it.each([
  [["fly"], 100, /there is no command "fly"/],
  [[], 100, /a command is missing\n\nUsage: berth-fleet/],
  [["--label", "region=eu", "ls"], 100, /--label has to come after the command; see berth-fleet --help/],
  [["apply"], 100, /apply needs a file/],
  [["apply", "/nowhere.toml"], 111, /cannot read \/nowhere\.toml: ENOENT/],
  [["apply", "package.json"], 100, /package\.json: Invalid TOML/],
  [["ls", "ports"], 100, /ls lists hosts, berths or sets/],
  [["ls", "--cert", "/x"], 100, /--cert and --key go together, and need --ca/],
  [["ls", "--everything"], 100, /Unknown option '--everything'.*see berth-fleet --help/],
  [["ls", "--prefix", "berthd"], 100, /the prefix "berthd" does not begin and end with a slash/],
  [["rm"], 100, /rm needs a set/],
  [["place"], 100, /place needs a set/],
  [["allocate"], 100, /allocate needs one set/],
  [["move"], 100, /move needs one berth/],
  [
    ["move", "a-1", "--deadline", "soon"],
    100,
    /--deadline soon is no time of at most 168h: write 90s, 30min, 2h, or 0/,
  ],
  [["move", "a-1", "--deadline", "169h"], 100, /--deadline 169h is no time of at most 168h/],
  [["drain", "h1", "--deadline", "1s", "--when-empty"], 100, /--when-empty and --deadline exclude each other/],
  [["drain"], 100, /drain needs one host/],
  [["cordon"], 100, /cordon needs a host/],
  [["uncordon"], 100, /uncordon needs a host/],
  [["explain"], 100, /explain needs one berth/],
  [["watch"], 111, /etcd at http:\S+ does not answer/],
  [["events", "h1"], 100, /Unexpected argument 'h1'/],
  [["allocate", "arena", "--players", "all"], 100, /--players: must be an integer from 1 to 1000000/],
  [["serve", "--listen", "0.0.0.0:80"], 100, /--listen 0\.0\.0\.0:80 is not on loopback.*: add --token-file FILE/],
  [["serve", "--listen", "web:80"], 100, /--listen web:80 is neither ADDRESS:PORT nor the path of a socket/],
  [["serve", "--token-file", ".nvmrc"], 100, /--token-file \.nvmrc must have one word of at least 16 characters/],
  [["release"], 100, /release needs a berth/],
  [["agent"], 100, /--folder is missing/],
  [["agent", "--folder", "/x"], 100, /--etcd http:\S+ is not encrypted.*use https:\/\/ with --ca, or --insecure/],
  [["ls", "--ca", "package.json"], 100, /http:\S+ uses no certificates, and some were given/],
  [["agent", "--folder", "/x", "--insecure", "--ca", "package.json"], 100, /http:\S+ uses no certificates/],
  [["roles"], 100, /roles needs a host.s name/],
  [["roles", "a;b"], 100, /roles: must be a host.s name/],
  [["replace", "--margin", "x"], 100, /--margin: must be an integer from 0 to 3600/],
  [["agent", "--folder", "/x", "--allow-command", "srv"], 100, /--allow-command srv is no absolute path/],
  [["agent", "--folder", "/x", "--allow-socket", "run"], 100, /--allow-socket run is no absolute path/],
  [["agent", "--folder", "/x", "--store", "/y"], 100, /--state-socket, --store and --store-listen go together/],
  [["agent", "--folder", "/x", "--allow-port", "x"], 100, /--allow-port: "x" is no range of ports/],
  [["agent", "--folder", "/x", "--ports", "9-3"], 100, /--ports: port 9 is above port 3/],
  [["agent", "--folder", "/x", "--memory", "much"], 100, /--memory much is no size/],
  [["agent", "--folder", "/x", "--label", "fast"], 100, /--label fast has no value: write NAME=VALUE/],
  [["agent", "--folder", "/x", "--name", "a b"], 100, /this host: name: must be a host's name/],
  [["agent", "--folder", "/x", "--ttl", "1"], 100, /--ttl: must be an integer from 2 to 3600, and is 1/],
  [["ls"], 111, /etcd at http:\S+ does not answer: .*ECONNREFUSED/],
])("%j ends with %i and a sentence", async (args, code, sentence) => {
  const ended = await runFleet(`http://127.0.0.1:${await freePort()}`, ...args);
  expect(ended).toMatchObject({ code, out: "" });
  expect(ended.err).toMatch(sentence);
});

it.each([[["agent", "--folder", "/x"]], [["agent", "--folder", "/x", "--insecure"]], [["ls"]]])(
  "%j needs etcd's address: no port is a default, since any local user could listen on it",
  async (args) => {
    const ended = await runFleet(undefined, ...args);
    expect(ended).toMatchObject({ code: 100, out: "" });
    expect(ended.err).toMatch("--etcd is missing");
  },
);

it("an error is JSON where --json is asked for", async () => {
  const ended = await runFleet(`http://127.0.0.1:${await freePort()}`, "ls", "ports", "--json");
  expect(JSON.parse(ended.err)).toEqual({ error: "USAGE", message: "ls lists hosts, berths or sets" });
});

it("options of all commands may come before the command, as in an alias", async () => {
  const etcd = `http://127.0.0.1:${await freePort()}`;
  const alias = ["--etcd", etcd, "--prefix=/x/", "--json"];
  const ended = await runFleet(undefined, ...alias, "apply", "/nowhere.toml");
  expect(JSON.parse(ended.err)).toMatchObject({ error: "FILE_UNREADABLE" });
  expect((await runFleet(undefined, ...alias, "ls", "hosts")).err).toContain(`${etcd} does not answer`);
  expect((await runFleet(undefined, ...alias, "--help")).out).toBe(usages.usage);
  expect((await runFleet(undefined, ...alias, "--version")).out).toMatch(/^\d+\./);
  expect((await runFleet(undefined, ...alias, "drain", "--help")).out).toBe(usages.drainUsage);
});

it("--help prints the commands, and each command prints its own help", async () => {
  expect(await runFleet(undefined, "--help")).toEqual({ code: 0, out: usages.usage, err: "" });
  const { usage: _, ...ofCommands } = usages;
  expect(new Set(Object.keys(ofCommands))).toEqual(new Set(commands.map((name) => `${name}Usage`)));
  for (const [key, out] of Object.entries(ofCommands))
    expect(await runFleet(undefined, key.replace("Usage", ""), "--help")).toEqual({ code: 0, out, err: "" });
});

it("--version prints that of the package", async () => {
  const { version }: { version: string } = JSON.parse(read("packages/fleet/package.json"));
  expect(await runFleet(undefined, "--version")).toEqual({ code: 0, out: `${version}\n`, err: "" });
});

test("berth-fleet(1) has the commands and options of berth-fleet, and no other", () => {
  const manual = read("packages/fleet/man/berth-fleet.1");
  const listed = Array.from(manual.matchAll(/^\.It Fl -([a-z-]+)/gm), ([, name]) => name);
  const helps = Object.values(usages).join("");
  const options = Array.from(helps.matchAll(/^ {2}--([a-z-]+)/gm), ([, name]) => name);
  expect(new Set(listed)).toEqual(new Set(options));
  // --label is one of agent, and one of allocate; --margin is one of agent, and one of replace.
  expect(listed).toHaveLength(new Set(listed).size + 2);
  const described = Array.from(manual.matchAll(/^\.It Cm ([a-z]+)/gm), ([, name]) => name);
  expect(new Set(described)).toEqual(new Set(commands));
});

test("docs/fleet.md has the commands and options of berth-fleet, and its tables have no other", () => {
  const page = read("docs/fleet.md");
  const options = new Set(
    Array.from(
      Object.values(usages)
        .join("")
        .matchAll(/^ {2}(--[a-z-]+)/gm),
      ([, name]) => name,
    ),
  );
  for (const option of options) expect(page).toMatch(new RegExp(`${option}(?![a-z-])`));
  const cells = Array.from(page.matchAll(/^\| (`.+?`) \|/gm), ([, cell = ""]) => cell);
  for (const cell of cells) for (const [option] of cell.matchAll(/--[a-z-]+/g)) expect(options).toContain(option);
  const listed = tableRows(section(page, "## Place berths")).flatMap(([cell = ""]) =>
    Array.from(cell.matchAll(/(?:^|`)([a-z]+)/g), ([, name]) => name),
  );
  expect(new Set(listed)).toEqual(new Set(commands));
});

test("the package brings its manual", () => {
  const manifest: { man: string[]; files: string[] } = JSON.parse(read("packages/fleet/package.json"));
  expect(manifest.man).toContain("./man/berth-fleet.1");
  expect(read("packages/fleet/man/berth-fleet.1")).toContain(".Dt BERTH-FLEET 1");
  expect(manifest.files).toContain("man");
});

test("the set in docs/fleet.md is one", () => {
  const [, source = ""] = /^cat >arena\.toml <<'EOF'\n(.*?)^EOF$/ms.exec(read("docs/fleet.md")) ?? [];
  expect(berthSet(parse(source), "arena.toml")).toMatchObject({ name: "arena", count: 4, onLost: "replace" });
});

test("the agent in docs/fleet.md has options that there are", () => {
  const [used = ""] = /agent --folder.*/.exec(read("docs/fleet.md")) ?? [];
  const options = Array.from(used.matchAll(/--([a-z-]+)/g), ([, name = ""]) => name);
  expect(options.length).toBeGreaterThan(5);
  for (const name of options) expect(usages.agentUsage).toContain(`\n  --${name} `);
});
