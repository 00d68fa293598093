/** The completion of every program in real shells. zsh completes on a terminal, as somebody types. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launcherPath, programPath } from "../../src/launcher-path.ts";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { berth, berths, cli } from "./support.ts";

const programs = ["berth", "berthd", "berth-launch", "shift-own", "shift-mount"];

/** What each shell offers for a tab behind a line, in the order of the alphabet. */
const offers: [string, string[]][] = [
  ["berthd --log-level n", ["notice"]],
  ["berthd --replace ", ["must", "no", "try"]],
  ["berthd --max-", ["--max-connections", "--max-stash"]],
  ["berth-launch ar", ["arena@alice", "arena@bob"]],
  ["berth-launch --setenv A=1 --replace t", ["try"]],
  ["berth-launch --dry-run lo", ["lobby"]],
  ["berth-launch --tr", ["--trace-binds"]],
  ["shift-own --dr", ["--dry-run"]],
  ["shift-own -s 0x30000 --m", ["--mounts"]],
  ["shift-mount --one", ["--oneshot"]],
  ["berth logs --fo", ["--follow"]],
  ["berth completion fish shift-", ["shift-mount", "shift-own"]],
];

const berthOffers: [string, string[]][] = [
  ["berth comp", ["completion"]],
  ["berth run --replace ", ["must", "no", "try"]],
  ["berth show a", ["arena@alice", "arena@bob"]],
  ["berth watch lobby lo", ["lobby"]],
  ["berth stop --timeout 5 arena@b", ["arena@bob"]],
  ["berth image l", ["ls"]],
  ["berth image rm --f", ["--force"]],
  ["berth new tanks --from b", ["bzflag"]],
];

const bash = `
source <(berth completion bash "$2")
COMP_LINE=$1 COMP_POINT=\${#1}
"_\${2//-/_}"
(( \${#COMPREPLY[@]} == 0 )) || printf '%s\\n' "\${COMPREPLY[@]}"
`;
const fish = "berth completion fish $argv[2] | source; complete -C $argv[1]";

let broker: BrokerProcess;
let folder: TestFolder;

beforeAll(async () => {
  broker = await spawnBroker(berths);
  folder = new TestFolder({ "bin/berth": `#!/bin/sh\nexec ${process.execPath} ${cli} "$@"\n`, "tree/.keep": "" });
  chmodSync(join(folder.path, "bin/berth"), 0o755);
  for (const program of programs) {
    // That a shell knows which are programs, fish asks for it.
    if (program !== "berth") folder.write({ [`bin/${program}`]: "" });
    chmodSync(join(folder.path, "bin", program), 0o755);
    folder.write({ [`zsh/_${program}`]: (await berth(["completion", "zsh", program])).stdout });
  }
});
afterAll(async () => {
  folder[Symbol.dispose]();
  await broker[Symbol.asyncDispose]();
});

async function offeredBy(shell: "bash" | "fish" | "zsh", ...words: string[]): Promise<string[]> {
  const child = spawn(shell === "bash" ? shell : pathOf(shell), words, {
    cwd: folder.path,
    env: {
      HOME: folder.path,
      TERM: "dumb",
      PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}`,
      BERTHD_SOCKET: broker.socket,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [said, complaints] = ["", ""];
  child.stdout.on("data", (chunk) => {
    said += chunk;
  });
  child.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  await once(child, "close");
  expect(complaints).toBe("");
  const lines = said.split("\n").slice(0, -1);
  return [...new Set(lines.map((line) => line.split("\t")[0] ?? ""))].sort();
}

const programOf = (line: string): string => line.split(" ")[0] ?? "";

test.each(offers)("bash: %s", async (line, expected) => {
  expect(await offeredBy("bash", "--norc", "-c", bash, "bash", line, programOf(line))).toEqual(expected);
});

describe("in fish", needs("fish"), () => {
  test.each(offers)("%s", async (line, expected) => {
    expect(await offeredBy("fish", "--no-config", "-c", fish, line, programOf(line))).toEqual(expected);
  });
});

describe("in zsh", needs("zsh"), () => {
  const script = join(packageRoot, "test/fixtures/complete.zsh");

  test.each([...berthOffers, ...offers])("%s", async (line, expected) => {
    expect(await offeredBy("zsh", "-f", script, join(folder.path, "zsh"), line)).toEqual(expected);
  });

  test("folders, where a program takes one", async () => {
    expect(await offeredBy("zsh", "-f", script, join(folder.path, "zsh"), "shift-own -s 1 tr")).toEqual(["tree"]);
    expect(await offeredBy("zsh", "-f", script, join(folder.path, "zsh"), "shift-mount bin/ tr")).toEqual(["tree"]);
  });
});

test("bash: folders, also behind a short option with its value", async () => {
  expect(await offeredBy("bash", "--norc", "-c", bash, "bash", "shift-own -s 1 tr", "shift-own")).toEqual(["tree"]);
});

test.each(["berth-launch", "shift-own", "shift-mount"] as const)(
  "%s: every option of its help is completed",
  async (program) => {
    const path = program === "berth-launch" ? launcherPath() : programPath(program);
    const help = execFileSync(path, ["--help"], { encoding: "utf8" });
    const options = help
      .split("\n")
      .flatMap((line) => (/^ +-/.test(line) ? (line.match(/--[a-z][a-z-]+/g) ?? []) : []));
    expect(options.length).toBeGreaterThan(5);
    const offered = await offeredBy("bash", "--norc", "-c", bash, "bash", `${program} --`, program);
    expect(offered).toEqual([...new Set(options)].sort());
  },
);

test("berthd: every option of its help is completed", async () => {
  const { stdout } = await berth(["completion", "fish", "berthd"]);
  const help = execFileSync(process.execPath, [join(packageRoot, "dist/cli/berthd.js"), "--help"], {
    encoding: "utf8",
  });
  const options = Array.from(help.matchAll(/^ {2}(?:-\w, )?--([a-z-]+)/gm), ([, long]) => long);
  expect(Array.from(stdout.matchAll(/^complete .* -l ([a-z-]+)/gm), ([, long]) => long).sort()).toEqual(options.sort());
});
