/** docs/troubleshooting.md: each sentence that it explains is one that a program really prints. */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { beforeAll, describe, expect, test } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";
import { packageRoot } from "../../src/native.ts";
import { NOBODY, Server } from "../bind/harness.ts";
import { berth } from "../cli/support.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { read, section, tableRows } from "./markdown.ts";

const page = read("docs/troubleshooting.md");
const headings = [
  "No broker",
  "The server does not start",
  "A berth has a problem",
  "The server runs, and nobody can join",
];
const sentences = headings.flatMap((heading) =>
  tableRows(section(page, `## ${heading}`)).map(([sentence = ""]) => sentence),
);

/** Binds an address that is its berth's and one that is not, each when it hears a line, and prints what bind says. */
const BINDER = `import socket, sys
for line in sys.stdin:
  try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", int(line)))
    print("bound", flush=True)
  except OSError as error:
    print(error.strerror, flush=True)
`;

async function output(command: string, args: readonly string[], env: NodeJS.ProcessEnv, uid?: number): Promise<string> {
  const child = spawn(command, args, {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid !== undefined && { uid }),
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return stdout + stderr;
}

describe("a sentence of the page", needs("root"), () => {
  let printed = "";

  beforeAll(async () => {
    const [mine, other, busy, own] = [await freePort(), await freePort(), await freePort(), await freePort()];
    await using holder = Object.assign(createSocket("udp4"), {
      [Symbol.asyncDispose]: async () => void holder.close(),
    });
    holder.bind(busy, "127.0.0.1");
    await once(holder, "listening");
    const udp = (port: number): string => `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n`;
    const sleep = 'command = ["sleep", "1000"]\n';
    using state = new TestFolder();
    const files = {
      "anybody.toml": `${udp(0)}[server]\n${sleep}`,
      "folder.toml": `${udp(0)}[server]\nuser = "nobody"\ndirectory = "/nonexistent"\n${sleep}`,
      "program.toml": `${udp(0)}[server]\nuser = "nobody"\ncommand = ["/nonexistent/server"]\n`,
      "nothing.toml": `${udp(0)}[server]\nuser = "nobody"\n`,
      "image.toml": `${udp(0)}[root]\nimage = "gone"\n[server]\nuser = "nobody"\n${sleep}`,
      "ghost.toml": `${udp(0)}[server]\nuser = "no-such-user"\n${sleep}`,
      "busy.toml": udp(busy),
      "binds.toml": `${udp(mine)}[server]\nuser = "nobody"\ndeliver = ["bind"]\n${sleep}`,
      "own.toml": `${udp(own)}[server]\nuser = "nobody"\n`,
      "twin.toml": udp(mine),
      "arena.tml": "",
    };
    await using broker = await spawnBroker(files, ["--state", state.path]);
    const env = { BERTHD_SOCKET: broker.socket };
    const launch = (name: string, uid?: number): Promise<string> =>
      output(launcherPath(), ["--socket", broker.socket, name], env, uid);
    for (const name of ["nowhere", "anybody", "folder", "program", "nothing", "image"]) printed += await launch(name);
    const bind = `import socket; socket.socket(type=socket.SOCK_DGRAM).bind(("127.0.0.1", ${own}))`;
    printed += await output(launcherPath(), ["--socket", broker.socket, "own", "--", "python3", "-c", bind], env);
    printed += await launch("anybody", NOBODY);
    printed += (await berth(["ls"], { BERTHD_SOCKET: "/nonexistent/broker" })).stderr;
    printed += (await berth(["check", join(broker.folder.path, "config")])).stdout;
    for (const name of ["busy", "ghost"]) {
      const { stdout } = await berth(["show", "--json", name], env);
      const [{ problems }] = [JSON.parse(stdout) as { problems: { message: string; remedy: string }[] }];
      printed += problems.map(({ message, remedy }) => `${message}; ${remedy}\n`).join("");
    }
    const second = ["--config", join(broker.folder.path, "config"), "--socket", broker.socket, "--state", state.path];
    printed += await output(process.execPath, [join(packageRoot, "dist/cli/berthd.js"), ...second], {});

    const words = ["--socket", broker.socket, "binds", "--", "python3", "-c", BINDER];
    await using server = new Server(launcherPath(), words);
    server.child.stdin?.write(`${other}\n`);
    await server.said(1);
    printed += await output(launcherPath(), words.slice(0, 3), env);
    broker.child.kill("SIGTERM");
    await broker.exited;
    server.child.stdin?.write(`${other}\n`);
    await server.said(2);
    printed += server.stdout + broker.log.map(({ message }) => `${message}\n`).join("");
  }, 60_000);

  test.each(sentences)("%s", (sentence) => {
    const literal = sentence.replace(/, in the server's own output$/, "");
    const pattern = literal
      .split("…")
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      .join(".+");
    expect(printed).toMatch(new RegExp(pattern));
  });
});
