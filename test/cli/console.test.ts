import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type BrokerProcess, isReady, launchBroker, spawnBroker } from "../support/broker.ts";
import { isRoot, needs } from "../support/needs.ts";
import { Tmux } from "../support/tmux.ts";
import { endsWithTest } from "../support/wrap.ts";
import { berth, cli, Lines, start } from "./support.ts";

const user = isRoot ? 'user = "nobody"\n' : "";
const script = 'echo ready; while read -r line; do echo "got $line"; [ "$line" = stop ] && exit 0; done';
const socket = '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n';
const toy = `${socket}[server]\ncommand = ["sh", "-c", ${JSON.stringify(script)}]\nconsole = true\n${user}`;

/** A broker with a berth `toy` whose server has a console, and one without. */
function broker(): Promise<BrokerProcess> {
  return spawnBroker({ "toy.toml": toy, "plain.toml": `${socket}[server]\ncommand = ["sleep", "1000"]\n${user}` });
}

/** Starts the server, and waits until it reads. */
async function serve({ socket }: BrokerProcess): Promise<ChildProcess> {
  const server = start(["run", "toy"], { BERTHD_SOCKET: socket });
  await new Lines(server.stdout).find((line) => line === "ready");
  return server;
}

async function end(server: ChildProcess): Promise<void> {
  const exited = once(server, "exit");
  if (server.exitCode === null && server.signalCode === null && server.kill()) await exited;
}

/** Runs `berth console` with this standard input. */
async function piped(
  input: string,
  args: readonly string[],
  socket: string,
): Promise<{ code: number; stdout: string }> {
  const [first = "", ...rest] = [...endsWithTest, process.execPath, cli, "console", ...args];
  const child = spawn(first, rest, {
    env: { ...process.env, BERTHD_SOCKET: socket },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number];
  return { code, stdout };
}

describe("berth console", () => {
  test("--send types a line and prints what comes back, not what was before", async () => {
    await using daemon = await broker();
    const env = { BERTHD_SOCKET: daemon.socket };
    const server = await serve(daemon);
    try {
      const sent = ["console", "--send", "save-all", "--send", "list", "--wait", "1", "toy"];
      expect(await berth(sent, env)).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^save-all\n(list\n)?got save-all\n(list\n)?got list\n$/),
        stderr: "",
      });
    } finally {
      await end(server);
    }
  });

  test("--json prints a record; a server that ends meanwhile ends the wait", async () => {
    await using daemon = await broker();
    const server = await serve(daemon);
    const exited = once(server, "exit");
    const sent = ["console", "--json", "--send", "stop", "--wait", "60", "toy"];
    const { code, stdout } = await berth(sent, { BERTHD_SOCKET: daemon.socket });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      berth: "toy",
      pid: server.pid,
      sent: ["stop"],
      output: ["stop", "got stop"],
      ended: true,
    });
    expect(await exited).toEqual([0, null]);
  });

  test("without a terminal it types the lines of standard input", async () => {
    await using daemon = await broker();
    const server = await serve(daemon);
    const exited = once(server, "exit");
    const { code, stdout } = await piped("one\nstop\n", ["--wait", "60", "toy"], daemon.socket);
    expect(code).toBe(0);
    expect(stdout).toContain("got one\n");
    expect(stdout).toContain("got stop\n");
    await exited;
  });

  test("says why there is no console: no server, a berth without one, no such berth", async () => {
    await using daemon = await broker();
    const env = { BERTHD_SOCKET: daemon.socket };
    const vacant = await berth(["console", "--read-only", "toy"], env);
    expect(vacant).toEqual({
      code: 1,
      stdout: "",
      stderr: "berth: nobody has berth toy; to start its server: berth start toy\n",
    });
    const plain = start(["run", "plain"], env);
    try {
      await expect.poll(async () => (await berth(["show", "plain"], env)).stdout).toContain("occupied");
      const { code, stderr } = await berth(["console", "--send", "x", "plain"], env);
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /^berth: the server of berth plain \(pid \d+\) has no console: [^\n]+berth restart plain\n$/,
      );
    } finally {
      await end(plain);
    }
    expect(await berth(["console", "--send", "x", "nope"], env)).toMatchObject({ code: 1 });
  });

  test.each([
    [["--send", "a\nb", "toy"], "a line has a control character: a\\x0ab; give each line a --send of its own"],
    [["--send", "x".repeat(5000), "toy"], "a line has 5000 bytes; a terminal takes less than 4095"],
    [["--wait", "no", "toy"], "--wait no is not a number of seconds from 0 to 3600; write for example --wait 5"],
    [["--read-only", "--send", "x", "toy"], "--read-only does not go with --send and --json; leave one out"],
  ])("%j is wrong usage", async (args, message) => {
    expect(await berth(["console", ...args])).toEqual({ code: 100, stdout: "", stderr: `berth: ${message}\n` });
  });

  test("its path is for root and the user who started the server", needs("root"), async () => {
    await using daemon = await broker();
    const server = await serve(daemon);
    try {
      const folder = `${daemon.socket}.console`;
      const [lease = ""] = readdirSync(folder);
      const { mode, uid } = statSync(join(folder, lease));
      expect({ mode: mode & 0o777, uid }).toEqual({ mode: 0o600, uid: 0 });
      expect(statSync(folder).mode & 0o777).toBe(0o711);
    } finally {
      await end(server);
    }
  });

  test(
    "a folder of another user in its place: neither the broker nor a reader uses it, and other berths work",
    needs("root"),
    async () => {
      await using daemon = await broker();
      const env = { BERTHD_SOCKET: daemon.socket };
      const folder = `${daemon.socket}.console`;
      mkdirSync(folder);
      chownSync(folder, 65534, 65534);
      const refused = await berth(["run", "toy"], env);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(`cannot open a console in ${folder}`) });
      const plain = start(["run", "plain"], env);
      try {
        await expect.poll(async () => (await berth(["show", "plain"], env)).stdout).toContain("occupied");
        expect(await berth(["console", "--send", "secret", "plain"], env)).toMatchObject({
          code: 111,
          stderr: expect.stringContaining(`cannot trust the consoles in ${folder}`),
        });
      } finally {
        await end(plain);
      }
      rmdirSync(folder);
      await end(await serve(daemon));
    },
  );

  test("the console outlives the broker's end by SIGKILL, and its path goes with the lease", async () => {
    await using daemon = await broker();
    const server = await serve(daemon);
    const [lease = ""] = readdirSync(`${daemon.socket}.console`);
    const path = join(`${daemon.socket}.console`, lease);
    daemon.child.kill("SIGKILL");
    await daemon.exited;
    await using next = launchBroker(daemon.folder);
    await next.logged(isReady);
    const { code, stdout } = await berth(["console", "--send", "again", "--wait", "1", "toy"], {
      BERTHD_SOCKET: next.socket,
    });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "again\ngot again\n" });
    expect(existsSync(path)).toBe(true);
    await end(server);
    await expect.poll(() => existsSync(path)).toBe(false);
  });
});

describe("berth console on a terminal", needs("tmux"), () => {
  const open = (args: string): string => `${process.execPath} ${cli} console ${args} toy`;

  test("attaches, types, holds Ctrl-C back, detaches; the server goes on", async () => {
    await using daemon = await broker();
    const server = await serve(daemon);
    try {
      using terminal = new Tmux(open(""), { BERTHD_SOCKET: daemon.socket });
      await terminal.shows("Ctrl-] d detaches");
      await terminal.shows("ready");
      terminal.type("hello");
      terminal.press("Enter");
      await terminal.shows("got hello");
      terminal.press("C-c");
      await terminal.shows("Ctrl-C may end the server");
      terminal.type("still there");
      terminal.press("Enter");
      await terminal.shows("got still there");
      terminal.press("C-]", "d");
      const screen = await terminal.shows("detached from toy; its server goes on");
      expect(screen).toContain("hello\ngot hello\n");
      // The terminal echoes again, and ends a line as before.
      terminal.type("echoed");
      terminal.press("Enter");
      await terminal.shows("echoed\nechoed");
      expect(server.exitCode).toBe(null);
    } finally {
      await end(server);
    }
  });

  test.each([
    ["detach", ""],
    ["--send", "--send hello --wait 2"],
  ])("after %s long lines wrap again, though the server turned that off", async (_, args) => {
    const turnsOff = toy.replace('echo \\"got', 'printf \\"\\\\033[?7l\\"; echo \\"got');
    expect(turnsOff).not.toBe(toy);
    await using daemon = await spawnBroker({ "toy.toml": turnsOff });
    const server = await serve(daemon);
    try {
      using terminal = new Tmux(open(args), { BERTHD_SOCKET: daemon.socket });
      if (args === "") {
        await terminal.shows("ready");
        terminal.type("hello");
        terminal.press("Enter");
      }
      await terminal.shows("got hello");
      expect(terminal.wraps).toBe(false);
      if (args === "") terminal.press("C-]", "d");
      await expect.poll(() => terminal.wraps, { timeout: 30_000 }).toBe(true);
    } finally {
      await end(server);
    }
  });

  test("a second reader sees what the first types; Ctrl-] Ctrl-C ends the server, and both learn of it", async () => {
    await using daemon = await broker();
    const server = await serve(daemon);
    const exited = once(server, "exit");
    using terminal = new Tmux(open(""), { BERTHD_SOCKET: daemon.socket });
    await terminal.shows("ready");
    terminal.open(open("--read-only"));
    await terminal.shows("Ctrl-C ends this, not the server");
    await terminal.shows("ready");
    terminal.turnTo(0);
    terminal.type("one");
    terminal.press("Enter");
    await terminal.shows("got one");
    terminal.turnTo(1);
    await terminal.shows("got one");
    terminal.turnTo(0);
    terminal.press("C-]", "C-c");
    await terminal.shows("the server of toy has ended");
    terminal.turnTo(1);
    await terminal.shows("the server of toy has ended");
    expect(await exited).toEqual([null, "SIGINT"]);
  });

  test("--follow attaches to the next server; --read-only ends at Ctrl-C, not the server", async () => {
    await using daemon = await broker();
    const former = await serve(daemon);
    using terminal = new Tmux(open("--read-only --follow"), { BERTHD_SOCKET: daemon.socket });
    await terminal.shows(`console of toy, pid ${former.pid}`);
    await end(former);
    await terminal.shows("waiting for the next one; Ctrl-C ends this");
    const server = await serve(daemon);
    try {
      await terminal.shows(`console of toy, pid ${server.pid}`);
      terminal.press("C-c");
      await terminal.shows("detached from toy; its server goes on");
      expect(server.exitCode).toBe(null);
    } finally {
      await end(server);
    }
  });
});
