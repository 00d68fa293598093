#!/usr/bin/env node
/**
 * `npm run prove:clients`: the client libraries minecraft-protocol and bedrock-protocol see a server that sleeps, and a
 * player of theirs wakes it. They are installed into a temporary folder (600 MB, mostly the data of all game versions),
 * which is why no test does this. It needs the npm registry, and no root.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main, prepare, root, Sentence } from "./prepare.mjs";

const LIBRARIES = ["minecraft-protocol@^1", "bedrock-protocol@^3"];
const LATEST_MS = 20_000;

/** A port that is free for TCP, and so most likely for UDP. */
async function freePort() {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  server.close();
  return port;
}

async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Sentence(`${what} takes more than ${LATEST_MS / 1000} s`)), LATEST_MS);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Resolves with the line of the log that matches. */
function logged(broker, pattern) {
  return new Promise((resolve, reject) => {
    let text = "";
    broker.stderr.on("data", (part) => {
      text += part;
      const line = text.split("\n").find((one) => pattern.test(one));
      if (line !== undefined) resolve(line);
    });
    broker.once("exit", () => reject(new Sentence(`the broker has ended:\n${text}`)));
  });
}

function npm(folder, ...args) {
  const { status } = spawnSync("npm", args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Sentence(`npm ${args[0]} failed; what it said stands above`);
}

/** In a process of its own: its part in C++ sometimes crashes when a client ends. */
function bedrock(folder, code, { bedrock: port }) {
  const start = `const b = require("bedrock-protocol"), at = { host: "127.0.0.1", port: ${port} };
    const say = (text) => process.stdout.write(text, () => process.kill(process.pid, "SIGKILL")); ${code}`;
  return spawnSync(process.execPath, ["-e", start], { cwd: folder, encoding: "utf8", timeout: LATEST_MS }).stdout;
}

const linesOf = (file) => readFileSync(file, "utf8").split("\n").filter(Boolean);

async function until(isSo) {
  for (let tries = 0; tries < 100 && !isSo(); tries++) await new Promise((resolve) => setTimeout(resolve, 100));
}

async function prove(folder) {
  console.error("installing %s …", LIBRARIES.join(" and "));
  npm(folder, "install", "--no-audit", "--no-fund", "--ignore-scripts", ...LIBRARIES);
  // A part of bedrock-protocol in C++, which cmake builds.
  npm(folder, "rebuild", "raknet-native");
  const require = createRequire(join(folder, "x.js"));
  const java = require("minecraft-protocol");
  const ports = { java: await freePort(), bedrock: await freePort() };
  const started = join(folder, "started");
  for (const [kind, socket, asleep] of [
    ["java", `tcp://127.0.0.1:${ports.java}`, "minecraft"],
    ["bedrock", `udp://127.0.0.1:${ports.bedrock}`, "bedrock"],
  ]) {
    writeFileSync(
      join(folder, `${kind}.toml`),
      `[sockets.game]
listen = ["${socket}"]
[server]
command = ["sh", "-c", "echo ${kind} >>${started}; exec sleep 600"]
${process.getuid() === 0 ? 'user = "nobody"' : ""}
start = "on-demand"
asleep = "${asleep}"
asleep-as = { name = "Frozen Lake", slots = 12 }
`,
    );
  }
  writeFileSync(started, "");
  chmodSync(started, 0o666);
  const args = [join(root, "dist/cli/berthd.js"), "--config", folder, "--socket", join(folder, "berthd.sock")];
  const broker = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  try {
    await within("the broker's start", logged(broker, /ready|listening|holds/i));
    const status = await within("a ping of Java", java.ping({ host: "127.0.0.1", port: ports.java }));
    console.log("minecraft-protocol: %j", status);
    console.log(
      "bedrock-protocol: %s",
      bedrock(folder, `b.ping(at).then((status) => say(JSON.stringify(status)))`, ports),
    );
    console.log("started by pings: %s", linesOf(started).join(", ") || "none");
    const client = java.createClient({
      host: "127.0.0.1",
      port: ports.java,
      username: "player",
      auth: "offline",
      version: "1.20.4",
    });
    const [reason] = await within("a login of Java", once(client, "disconnect"));
    console.log("a login of Java is told: %j", reason.reason ?? reason);
    const join =
      'b.createClient({ ...at, username: "player", offline: true, skipPing: true }); setTimeout(() => say(""), 3000)';
    bedrock(folder, join, ports);
    await until(() => linesOf(started).length >= 2);
    const names = linesOf(started).sort();
    console.log("started by one player each: %s", names.join(", "));
    if (names.join() !== "bedrock,java") throw new Sentence("each player wakes its server once");
  } finally {
    const ended = once(broker, "exit");
    broker.kill("SIGTERM");
    await ended;
  }
}

await main(async () => {
  await prepare();
  const folder = mkdtempSync(join(tmpdir(), "berthd-clients-"));
  try {
    spawnSync("chmod", ["755", folder]);
    await prove(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.exit(0);
});
