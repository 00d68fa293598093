import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Ranges } from "../../src/rootfs/ranges/ranges.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { berth, berths, cli } from "./support.ts";

/** As readline does before it calls the function: words broken at the break characters too. */
const complete = `
source <(berth completion bash)
COMP_LINE=$1
COMP_POINT=\${#COMP_LINE}
_berth
(( \${#COMPREPLY[@]} == 0 )) || printf '%s\\n' "\${COMPREPLY[@]}"
`;

describe("berth completion bash", () => {
  let broker: BrokerProcess;
  const bin = new TestFolder();
  beforeAll(async () => {
    broker = await spawnBroker(berths);
    program(bin, `exec ${process.execPath} ${cli} "$@"`);
  });
  afterAll(async () => {
    bin[Symbol.dispose]();
    await broker[Symbol.asyncDispose]();
  });

  async function completions(
    line: string,
    path = bin.path,
    env: NodeJS.ProcessEnv = { BERTHD_SOCKET: broker.socket },
  ): Promise<string[]> {
    const { PATH, HOME } = process.env;
    const shell = spawn("bash", ["--norc", "-c", complete, "bash", line], {
      cwd: bin.path,
      env: { HOME, PATH: `${path}:${PATH}`, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [said, complaints] = ["", ""];
    shell.stdout.on("data", (chunk) => {
      said += chunk;
    });
    shell.stderr.on("data", (chunk) => {
      complaints += chunk;
    });
    await once(shell, "close");
    expect(complaints).toBe("");
    return said.split("\n").slice(0, -1);
  }

  test.each([
    [
      "berth ",
      [
        "ls",
        "show",
        "top",
        "history",
        "watch",
        "reload",
        "start",
        "restart",
        "drain",
        "upgrade",
        "stop",
        "logs",
        "console",
        "enable",
        "disable",
        "run",
        "new",
        "edit",
        "rm",
        "backup",
        "restore",
        "check",
        "doctor",
        "explain",
        "image",
        "range",
        "oci",
        "fleet",
        "serve-state",
        "units",
        "completion",
      ],
    ],
    ["berth co", ["console", "completion"]],
    ["berth --so", ["--socket"]],
    ["berth ls --", ["--socket", "--timeout", "--json", "--names", "--help"]],
    ["berth run --replace ", ["no", "try", "must"]],
    ["berth run --replace t", ["try"]],
    ["berth run --setenv A=1 --replace try lo", ["lobby"]],
    ["berth show ", ["arena@alice", "arena@bob", "lobby"]],
    ["berth watch lobby lo", ["lobby"]],
    ["berth show lobby ", []],
    ["berth stop lobby ar", ["arena@alice", "arena@bob"]],
    ["berth logs --", ["--follow", "--lines", "--since", "--socket", "--state", "--timeout", "--json", "--help"]],
    ["berth backup --compress z", ["zstd"]],
    ["berth restore ar", ["arena@alice", "arena@bob"]],
    ["berth enable arena", ["arena@alice", "arena@bob"]],
    ["berth stop --", ["--socket", "--timeout", "--json", "--help"]],
    ["berth completion ", ["bash", "zsh", "fish"]],
    ["berth image ", ["import", "ls", "rm", "use"]],
    ["berth image l", ["ls"]],
    ["berth image ls --", ["--state", "--timeout", "--json", "--names", "--help"]],
    ["berth --socket x image rm --", ["--force", "--state", "--timeout", "--config", "--help"]],
    ["berth range ", ["ls", "forget"]],
    ["berth oci ", ["profile", "spec"]],
    ["berth new tanks --from b", ["bzflag"]],
    ["berth new tanks --fr", ["--from"]],
    ["berth units p", ["print"]],
    ["berth nonsense ", []],
  ])("%j", async (line, expected) => {
    expect(await completions(line)).toEqual(expected);
  });

  test("behind the @, where bash begins a new word, only the instance is completed", async () => {
    expect(await completions("berth show arena@")).toEqual(["alice", "bob"]);
    expect(await completions("berth show arena@b")).toEqual(["bob"]);
    expect(await completions("berth show are")).toEqual(["arena@alice", "arena@bob"]);
  });

  test("asks the broker that --socket names", async () => {
    const elsewhere = { BERTHD_SOCKET: "/nonexistent/broker" };
    expect(await completions("berth show ", bin.path, elsewhere)).toEqual([]);
    expect(await completions(`berth --socket ${broker.socket} show lo`, bin.path, elsewhere)).toEqual(["lobby"]);
    expect(await completions(`berth show --socket ${broker.socket} lo`, bin.path, elsewhere)).toEqual(["lobby"]);
  });

  test("images and ranges are those of the state folder that --state names", async () => {
    using state = new TestFolder();
    using ranges = Ranges.open(join(state.path, "ranges"));
    ranges.reserve("lobby");
    const manifest = { name: "arena", version: "1", digest: "", entries: 0, bytes: 0, imported: "", format: 1 };
    const source = { kind: "directory", location: "/" };
    state.write({ "images/arena/1/manifest.json": JSON.stringify({ ...manifest, source }) });
    expect(await completions(`berth range forget --state ${state.path} l`)).toEqual(["lobby"]);
    expect(await completions(`berth image rm --state ${state.path} ar`)).toEqual(["arena@1"]);
  });

  test("runs no command from the names of berths", async () => {
    using evil = new TestFolder();
    const names = "$(touch pwned)\\n`touch pwned`\\n;touch pwned\\ngood\\n";
    program(evil, `case $1 in completion) exec ${process.execPath} ${cli} "$@" ;; esac; printf '%b' '${names}'`);
    expect(await completions("berth show ", evil.path)).toEqual(["good"]);
    expect(await completions("berth check ", evil.path)).toEqual([]);
    expect(await completions("berth run lobby pw", evil.path)).toEqual([]);
  });
});

describe("berth completion fish, in fish", needs("fish"), () => {
  const script = "berth completion fish | source; complete -C $argv[1]";

  test.each([
    ["berth comp", ["completion"]],
    ["berth run --replace ", ["must", "no", "try"]],
    ["berth show a", ["arena@alice", "arena@bob"]],
    ["berth watch lobby lo", ["lobby"]],
    ["berth image l", ["ls"]],
    ["berth image rm --f", ["--force"]],
  ])("%j", async (line, expected) => {
    using folder = new TestFolder();
    await using broker = await spawnBroker(berths);
    program(folder, `exec ${process.execPath} ${cli} "$@"`);
    const shell = spawn(pathOf("fish"), ["--no-config", "-c", script, line], {
      cwd: folder.path,
      env: { HOME: folder.path, PATH: `${folder.path}:${process.env["PATH"]}`, BERTHD_SOCKET: broker.socket },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [said, complaints] = ["", ""];
    shell.stdout.on("data", (chunk) => {
      said += chunk;
    });
    shell.stderr.on("data", (chunk) => {
      complaints += chunk;
    });
    await once(shell, "close");
    expect(complaints).toBe("");
    const words = said
      .trimEnd()
      .split("\n")
      .map((found) => found.split("\t")[0]);
    expect(words).toEqual(expected);
  });
});

test.each(["zsh", "fish"])("berth completion %s knows every command and where berths stand", async (shell) => {
  const { code, stdout } = await berth(["completion", shell]);
  expect(code).toBe(0);
  for (const command of [
    "ls",
    "show",
    "top",
    "history",
    "watch",
    "reload",
    "run",
    "new",
    "check",
    "doctor",
    "explain",
    "image",
    "range",
    "oci",
    "fleet",
    "units",
    "completion",
  ])
    expect(stdout).toMatch(new RegExp(`\\b${command}\\b`));
  expect(stdout.match(/_berth_berths\b/g)?.length).toBeGreaterThanOrEqual(4);
});

function program(folder: TestFolder, script: string): void {
  folder.write({ berth: `#!/bin/bash\n${script}\n` });
  chmodSync(join(folder.path, "berth"), 0o755);
}
