/**
 * examples/recipes: all of them are valid, docs/recipes.md lists them, and those of Debian's servers run as they are.
 */
import { chmodSync, cpSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, test } from "vitest";
import { launcherPath } from "../src/launcher-path.ts";
import { packageRoot } from "../src/native.ts";
import { askTcp, askUdp, inodesAt, Player, Server, socketsOf } from "./bind/harness.ts";
import { berth } from "./cli/support.ts";
import { read, section, tableRows } from "./docs/markdown.ts";
import { spawnBroker, TestFolder } from "./support/broker.ts";
import { needs, type Program } from "./support/needs.ts";
import { freePort } from "./support/ports.ts";
import { writeEmptyGame } from "./support/quake.ts";
import { isObject } from "./support/web/json-schema.ts";

const folder = join(packageRoot, "examples/recipes");
const recipes = readdirSync(folder).map((file) => basename(file, ".toml"));

interface Recipe {
  readonly sockets: Readonly<Record<string, { readonly listen: readonly string[] }>>;
  readonly server: { readonly command: readonly string[]; readonly directory?: string };
}

function textOf(name: string): string {
  return readFileSync(join(folder, `${name}.toml`), "utf8");
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string");
}

function isRecipe(value: unknown): value is Recipe {
  if (!isObject(value)) return false;
  const { sockets, server } = value;
  if (!isObject(sockets) || !isObject(server)) return false;
  const { command, directory } = server;
  const isServer = isTexts(command) && (directory === undefined || typeof directory === "string");
  return isServer && Object.values(sockets).every((one) => isObject(one) && isTexts(one["listen"]));
}

function contentOf(name: string): Recipe {
  const content: unknown = parse(textOf(name));
  if (!isRecipe(content)) throw new Error(`${name}.toml is no recipe: it has no sockets with listen, or no command`);
  return content;
}

/** A line of a recipe's head, such as `# Stop:    SIGTERM`. */
function headOf(name: string, word: string): string {
  const found = new RegExp(`^# ${word}: +(\\S.*)$`, "m").exec(textOf(name))?.[1];
  if (found === undefined) throw new Error(`${name}.toml has no line "# ${word}: …"`);
  return found;
}

test("berth check finds nothing wrong with any of them, as they are", async () => {
  const { code, stdout } = await berth(["check", folder]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^12 berths with \d+ sockets: fine\n$/) });
});

test.each(recipes)("%s says how to ask it and to stop it, where that is known from, and names its ports", (name) => {
  for (const word of ["Ask it", "Stop", "Sources"]) expect(headOf(name, word)).not.toBe("");
  const ports = Object.values(contentOf(name).sockets).flatMap(({ listen }) =>
    listen.map((address) => /:(\d+)$/.exec(address)?.[1]),
  );
  const named = headOf(name, "Ports").match(/\d{4,}/g);
  expect(new Set(named)).toEqual(new Set(ports));
});

test("docs/recipes.md has each of them, with its ports, how to stop it, and whether tests run it", () => {
  const rows = tableRows(section(read("docs/recipes.md"), "## Games"));
  expect(rows.map(([name, , ports, stop, tests]) => [name, ports, stop, tests])).toEqual(
    recipes.sort().map((name) => {
      const listen = Object.values(contentOf(name).sockets).flatMap((socket) => socket.listen);
      const ports = new Map<string, string[]>();
      for (const address of listen) {
        const [, protocol = "", port = ""] = /^(\w+):.*:(\d+)$/.exec(address) ?? [];
        ports.set(port, [...new Set([...(ports.get(port) ?? []), protocol])]);
      }
      const written = Array.from(ports, ([port, protocols]) => `${protocols.join(" ")} ${port}`).join(", ");
      const stop = headOf(name, "Stop").split(/[:;,]/)[0];
      return [name, written, stop, headOf(name, "Tests").startsWith("not") ? "no" : "yes"];
    }),
  );
});

/** What a test changes in a recipe by a drop-in: loopback, the user nobody, and a folder of its own. */
interface Trial {
  readonly program: Program;
  /** The addresses, in the recipe's order. */
  readonly hosts: readonly string[];
  /** The command of the recipe, changed for a machine without a network and without the game's own files. */
  readonly command?: (words: readonly string[], home: string) => readonly string[];
  readonly prepare?: (home: TestFolder, port: number) => void;
  /** What the server answers. */
  readonly ask: (port: number) => Promise<string>;
  readonly expected: RegExp;
}

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

const trials: Readonly<Record<string, Trial>> = {
  bzflag: {
    program: "bzfs",
    hosts: ["tcp://127.0.0.1", "udp://127.0.0.1"],
    ask: (port) => askTcp(port, "BZFLAG\r\n\r\n", (answer) => answer.length >= 9),
    expected: /^BZFS0\d{3}/,
  },
  luanti: {
    program: "minetestserver",
    hosts: ["udp://127.0.0.1"],
    command: (words, home) => words.map((word) => word.replace("/srv/luanti", home)),
    ask: async (port) => (await askUdp(port, Buffer.from("4f45740300000003ffdc01", "hex"))).toString("hex"),
    expected: /^4f457403/,
  },
  mumble: {
    program: "murmurd",
    hosts: ["tcp://127.0.0.1", "udp://127.0.0.1"],
    command: (words, home) => words.map((word) => word.replace("/etc/mumble-server.ini", `${home}/mumble.ini`)),
    prepare: (home, port) => {
      const database = join(home.path, "mumble.sqlite");
      home.write({ "mumble.ini": `database=${database}\nlogfile=\nhost=127.0.0.1\nport=${port}\nbonjour=false\n` });
    },
    ask: async (port) => (await askUdp(port, Buffer.from("000000000102030405060708", "hex"))).toString("hex"),
    expected: /^[0-9a-f]{8}0102030405060708/,
  },
  quake3: {
    program: "ioq3ded",
    hosts: ["udp://127.0.0.1", "udp://[::1]"],
    command: (words, home) => {
      const set = { fs_basepath: home, com_basegame: "empty", sv_pure: "0", dedicated: "1", vm_game: "0" };
      const variables = Object.entries(set).flatMap(([name, value]) => ["+set", name, value]);
      return [...words.slice(0, -2), ...variables, "+map", "empty"];
    },
    prepare: writeEmptyGame,
    ask: async (port) => (await askUdp(port, latin1("\xff\xff\xff\xffgetstatus\n"))).toString("latin1"),
    expected: /^\xff\xff\xff\xffstatusResponse\n.*ioq3/,
  },
  teeworlds: {
    program: "teeworlds-server",
    hosts: ["udp://127.0.0.1", "udp://[::1]"],
    command: (words) => [...words, "sv_register 0"],
    ask: async (port) => {
      using player = new Player(port);
      const mine = latin1("bert");
      const hello = Buffer.concat([Buffer.from("040000ffffffff05", "hex"), mine, Buffer.alloc(512)]);
      const token = (await player.ask(hello)).subarray(8, 12);
      const ask = Buffer.concat([Buffer.from([0x21]), token, mine, latin1("\xff\xff\xff\xffgie3\0")]);
      return (await player.ask(ask, (answer) => answer.includes("My server"))).toString("latin1");
    },
    expected: /0\.7\.\d.*My server/s,
  },
};

test("those that say that tests run them are the ones below", () => {
  const run = recipes.filter((name) => headOf(name, "Tests").startsWith("run by tests"));
  expect(run).toEqual(Object.keys(trials));
});

describe.each(Object.entries(trials))("%s", (name, { program, hosts, command, prepare, ask, expected }) => {
  test("runs from its recipe and answers", needs("root", program), async () => {
    const { server } = contentOf(name);
    const port = await freePort();
    using home = new TestFolder();
    chmodSync(home.path, 0o777);
    prepare?.(home, port);
    await using broker = await spawnBroker({});
    const config = join(broker.folder.path, "config");
    cpSync(join(folder, `${name}.toml`), join(config, `${name}.toml`));
    const words = command?.(server.command, home.path) ?? server.command;
    const listen = hosts.map((host) => `${host}:${port}`);
    broker.folder.write({
      [`config/${name}.toml.d/test.toml`]: [
        `sockets.game.listen = ${JSON.stringify(listen)}`,
        `[server]\nuser = "nobody"\ndirectory = "${home.path}"\nenvironment.HOME = "${home.path}"`,
        `command = ${JSON.stringify(words)}\n`,
      ].join("\n"),
    });
    expect((await berth(["reload"], { BERTHD_SOCKET: broker.socket })).stdout).toBe("reloaded: 1 berth\n");
    await using running = new Server(launcherPath(), ["--socket", broker.socket, name]);
    expect(await Promise.race([ask(port), running.ended().then(() => running.stdout + running.stderr)])).toMatch(
      expected,
    );
    const protocol = hosts[0]?.startsWith("tcp") ? "tcp" : "udp";
    expect(inodesAt(protocol, port)).toHaveLength(1);
    expect(socketsOf(broker.pid)).toEqual(expect.arrayContaining(inodesAt(protocol, port)));
    // It ends by the signal that the recipe names.
    const signal = /SIG[A-Z]+/.exec(headOf(name, "Stop"))?.[0];
    running.child.kill(signal === "SIGINT" ? "SIGINT" : "SIGTERM");
    await running.ended();
  });
});
