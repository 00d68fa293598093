#!/usr/bin/env node
/**
 * `npm run servers -- NAME…`: runs real servers of Debian in berths, as nobody, on ports below 1024. `berth explain`
 * writes each berth, as root and as nobody. The server is asked at once and 1.2 s later, killed, and started again.
 * scripts/servers/*.json say how each one is started and asked. Needs root.
 */
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { main, prepare, root, Sentence } from "./prepare.mjs";
import { writeSeen, writeTable } from "./servers-table.mjs";

const NOBODY = 65534;
const FIRST_PORT = 651;
const AGAIN_MS = 1200;
const PATIENCE_MS = 60_000;
const SETTLED_MS = 3000;
const END_MS = 30_000;
const AT_ONCE = 3;
/** As nobody no port below 1024 can be asked, so explain watches for this long; for longer, if it saw nothing. */
const WATCH_SECONDS = ["3", "30"];
const OPTIONS = ["--json", "--ci", "--list", "--record", "--table", "--help"];
const PLACES = `${process.env.PATH}:/usr/sbin:/sbin:/usr/games`;

const help = `Usage: npm run servers -- [--json] [--record] [--ci | NAME…]
       npm run servers -- --list [--json]
       npm run servers -- --table

Runs real servers in berths, as nobody, on ports below 1024, as root. For each one:
its berth is what berth explain prints; it is asked at once, 1.2 s later, and once more after SIGKILL.

  --ci      all servers that the tests run
  --list    names, packages and runtimes
  --json    print results as JSON
  --record  write date and version of those that serve to scripts/servers-seen.json, and the table
  --table   write the table in docs/servers.md
  --help

Exit status: 0, 1 when a server does not serve, 100 usage.
Example: npm run servers -- memcached nginx`;

/** Process groups that run. Ctrl-C does not reach them by itself. */
const groups = new Set();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    for (const group of groups) kill(group);
    process.kill(process.pid, signal);
  });
}

const folder = join(root, "scripts/servers");
const servers = readdirSync(folder)
  .sort()
  .map((file, index) => ({
    name: file.replace(/\.json$/, ""),
    port: FIRST_PORT + 2 * index, // some take the next one, too
    ...JSON.parse(readFileSync(join(folder, file), "utf8")),
  }));

await main(async () => {
  const words = process.argv.slice(2);
  const json = words.includes("--json");
  const names = words.filter((word) => !word.startsWith("-"));
  const unknown = words.find((word) => word.startsWith("-") && !OPTIONS.includes(word));
  if (words.includes("--help")) return void console.log(help);
  if (words.includes("--table")) return writeTable(servers);
  if (words.includes("--list")) return list(json);
  const strange = unknown ?? names.find((name) => !servers.some((server) => server.name === name));
  const chosen = servers.filter(({ name, ci }) => names.includes(name) || (words.includes("--ci") && ci));
  if (strange !== undefined || chosen.length === 0) {
    console.error(strange === undefined ? help : `there is no ${strange}; see npm run servers -- --list`);
    process.exitCode = 100;
    return;
  }
  if (process.getuid() !== 0) throw new Sentence("ports below 1024 need root: sudo npm run servers -- …");
  await prepare();
  const work = mkdtempSync(join(tmpdir(), "berthd-servers-"));
  chmodSync(work, 0o755);
  try {
    const results = await runAll(chosen, work);
    if (json) console.log(JSON.stringify(results, null, 2));
    else for (const one of results) console.log(`${one.name}: ${one.error ?? "serves"}`);
    if (words.includes("--record")) {
      remember(results);
      writeTable(servers);
    }
    process.exitCode = results.every(({ error }) => error === null) ? 0 : 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});

function list(json) {
  const rows = servers.map(({ name, package: from, runtime, ci = false }) => ({ name, package: from, runtime, ci }));
  if (json) console.log(JSON.stringify(rows, null, 2));
  else for (const row of rows) console.log([row.name, row.package, row.runtime, row.ci ? "ci" : ""].join("\t"));
}

/** Writes down which version of Debian's package served today. */
function remember(results) {
  const date = new Date().toISOString().slice(0, 10);
  const served = results.filter(({ error }) => error === null).map(({ name }) => name);
  const found = servers.filter(({ name, ci }) => !ci && served.includes(name));
  writeSeen(Object.fromEntries(found.map((server) => [server.name, { date, version: versionOf(server) }])));
}

function versionOf({ package: from }) {
  const [first] = from.split(" ");
  return execFileSync("dpkg-query", ["--show", first], { encoding: "utf8" }).trim().split("\t")[1];
}

async function runAll(chosen, work) {
  const image = makeImage(work);
  const results = chosen.map((server) => ({ name: server.name, server, error: null }));
  await inTurns(results, async (result) => {
    result.place = makePlace(result.server, work);
    result.toml = await explainAsRoot(result.server, result.place);
    const { inside } = result.server;
    if (inside !== undefined) {
      result.toml = enterRoot(result.toml, inside, result.place.path, image);
      return; // it serves nobody who is not root
    }
    let difference = differs(result.toml, await explainAsNobody(result.server, result.place));
    if (difference !== undefined) {
      // It may have answered before all of its threads had bound.
      result.toml = await explainAsRoot(result.server, result.place, SETTLED_MS);
      difference = differs(result.toml, await explainAsNobody(result.server, result.place));
    }
    if (difference !== undefined) throw new Error(`explain as nobody differs: ${difference}`);
  });
  const config = join(work, "config");
  mkdirSync(config);
  for (const { name, toml, error } of results) if (error === null) writeFileSync(join(config, `${name}.toml`), toml);
  const socket = join(work, "broker.sock");
  const broker = spawn(
    process.execPath,
    [
      join(root, "dist/cli/berthd.js"),
      ...["--config", config, "--state", join(work, "state"), "--socket", socket, "--log-format", "json"],
    ],
    {
      stdio: ["ignore", "inherit", "pipe"],
    },
  );
  const log = [];
  const ready = new Promise((resolve) => {
    createInterface(broker.stderr).on("line", (line) => {
      log.push(line);
      if (line.includes('"event":"ready"')) resolve();
    });
  });
  try {
    await Promise.race([ready, once(broker, "exit")]);
    if (broker.exitCode !== null) throw new Sentence(`the broker has ended:\n${log.join("\n")}`);
    await inTurns(
      results.filter(({ error }) => error === null),
      async (result) => serve(result, socket, broker.pid, log),
    );
  } finally {
    broker.kill("SIGKILL");
  }
  return results.map(({ name, error, toml }) => ({ name, error, toml: toml ?? null }));
}

/** A few at once; what fails is the result's own error. */
async function inTurns(results, act) {
  const left = [...results];
  const work = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      try {
        await act(one);
      } catch (error) {
        one.error = error.message;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

function makePlace(server, work) {
  const place = join(work, server.name);
  mkdirSync(place);
  chownSync(place, NOBODY, NOBODY);
  const fill = (text) =>
    text.replaceAll("{DIR}", place).replaceAll("{PORT}", String(server.port)).replaceAll("{NODE}", process.execPath);
  for (const [name, text] of Object.entries(server.files ?? {})) {
    writeFileSync(join(place, name), fill(text));
    chownSync(join(place, name), NOBODY, NOBODY); // vsftpd reads no configuration of another user
  }
  return { path: place, command: server.command.map(fill), expect: fill(server.ask.expect ?? "") };
}

function explain(server, place, before, options) {
  const [program] = place.command;
  const found = program.includes("/")
    ? program
    : PLACES.split(":")
        .map((at) => join(at, program))
        .find(isThere);
  if (found === undefined) throw new Error(`there is no ${program}: apt-get install ${server.package}`);
  const [command, ...args] = [...before, process.execPath, join(root, "dist/berth/berth.cjs"), "explain", ...options];
  const child = spawn(command, [...args, server.name, "--", found, ...place.command.slice(1)], {
    cwd: place.path,
    detached: true, // apache2 signals all of its process group when it stops
    stdio: ["ignore", "pipe", "pipe"],
  });
  groups.add(child.pid);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (part) => (stdout += part));
  child.stderr.on("data", (part) => (stderr += part));
  const ended = once(child, "close").then(([code, signal]) => {
    groups.delete(child.pid);
    if (code === 0) return stdout;
    throw new Error(`explain ended with ${code ?? signal}: ${stderr}`);
  });
  ended.catch(() => undefined);
  return { child, ended };
}

function isThere(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function explainAsRoot(server, place, more = 0) {
  const { child, ended } = explain(server, place, [], server.inside === undefined ? ["--user", "nobody"] : []);
  const early = ended.then((toml) => Promise.reject(new Error(`it ended under explain:\n${toml}`)));
  early.catch(() => undefined);
  await Promise.race([ask(server, place), early]);
  await pause(more);
  child.kill("SIGINT");
  return await ended;
}

async function explainAsNobody(server, place) {
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const [soon, late] = WATCH_SECONDS;
  return await explain(server, place, nobody, ["--for", soon]).ended.catch(
    () => explain(server, place, nobody, ["--for", late]).ended,
  );
}

/** Both have the same sockets and server; the one of a user says besides who may take the berth. Comments differ. */
function differs(asRoot, asNobody) {
  const lines = (toml) =>
    toml
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#") && line !== "[tenant]" && !line.startsWith("users = "));
  const [one, other] = [lines(asRoot).sort(), lines(asNobody).sort()];
  return one.join() === other.join()
    ? undefined
    : `${other.filter((line) => !one.includes(line))} instead of ${one.filter((line) => !other.includes(line))}`;
}

/** A root that has the host's programs, for servers that start as root and give it up. */
function makeImage(work) {
  const image = join(work, "image");
  for (const folder of ["", "usr", "etc"]) mkdirSync(join(image, folder));
  for (const name of ["bin", "lib", "lib64", "sbin"]) symlinkSync(`usr/${name}`, join(image, name));
  for (const name of ["passwd", "group", "nsswitch.conf"]) copyFileSync(`/etc/${name}`, join(image, "etc", name));
  return image;
}

/** The berth of a server that was explained as root: it is root of its own range, with these capabilities. */
function enterRoot(toml, capabilities, place, image) {
  const user = `user = "range"\nenter = true\ncapabilities = ${JSON.stringify(capabilities)}`;
  const binds = ["/usr", place].map((path) => `"${path}" = "${path}"`);
  const lines = ["", "[root]", `image = "${image}"`, 'state = "volatile"', "", "[root.binds]", ...binds, ""];
  return toml.replace(/^user = .*$/m, user) + lines.join("\n");
}

async function serve({ name, server, place }, socket, broker, log) {
  for (const life of ["first", "second"]) {
    const child = spawn(join(root, "build/Release/berth-launch"), ["--socket", socket, name], {
      cwd: "/",
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    groups.add(child.pid);
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => (said += part));
    const exited = once(child, "exit");
    try {
      const end = exited.then(([code]) => Promise.reject(new Error(`it ended with ${code}`)));
      end.catch(() => undefined);
      await Promise.race([ask(server, place), end]);
      if (life === "first") {
        await pause(AGAIN_MS);
        await Promise.race([ask(server, place), end]);
      }
      mustBeHeld(server.port, broker);
    } catch (error) {
      const lines = log.filter((line) => line.includes(`berth ${name}`));
      throw new Error(`${life} life: ${error.message}\n${said}${lines.join("\n")}`);
    } finally {
      kill(child.pid);
      await exited;
      groups.delete(child.pid);
    }
    await untilReleased(name, log, life);
  }
}

/** The lease lasts as long as any of the server's processes: its workers may end after the main one. */
async function untilReleased(name, log, life) {
  const isRelease = (line) => line.includes(`"message":"berth ${name}: `) && line.includes('"event":"released"');
  const lives = life === "first" ? 1 : 2;
  for (const end = Date.now() + END_MS; log.filter(isRelease).length < lives; await pause(10)) {
    if (Date.now() > end) throw new Error(`${life} life: its lease did not end with it`);
  }
}

function kill(group) {
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // it has ended
  }
}

/** Every socket that is bound to the port or listens there is the broker's. */
function mustBeHeld(port, broker) {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const held = new Set(readdirSync(`/proc/${broker}/fd`).map((fd) => inodeOf(`/proc/${broker}/fd/${fd}`)));
  const bound = ["tcp", "tcp6", "udp", "udp6"].flatMap((protocol) =>
    readFileSync(`/proc/net/${protocol}`, "utf8")
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((row) => row.trim().split(/\s+/))
      .filter(([, local, , state]) => local.endsWith(`:${hex}`) && state === (protocol.startsWith("tcp") ? "0A" : "07"))
      .map((row) => row[9]),
  );
  if (bound.length === 0) throw new Error(`nothing is bound to port ${port}`);
  const strange = bound.filter((inode) => !held.has(inode));
  if (strange.length > 0) throw new Error(`inode ${strange} at port ${port} is not the broker's`);
}

function inodeOf(path) {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(path))?.[1];
  } catch {
    return undefined; // closed meanwhile
  }
}

/** Asks again and again, until the answer is the one expected. */
async function ask({ port, ask: { protocol, say = "", hex = "" } }, { expect }) {
  const question = Buffer.concat([Buffer.from(say, "latin1"), Buffer.from(hex, "hex")]);
  const once_ = protocol === "udp" ? askUdp : askTcp;
  const end = Date.now() + PATIENCE_MS;
  // A loaded machine needs longer for an answer than it takes to ask again.
  for (let tries = 1; ; tries++) {
    const answer = await once_(port, question, expect, Math.min(300 * tries, 3000));
    if (answer !== "" && answer.includes(expect)) return;
    if (Date.now() > end)
      throw new Error(
        `nobody answered ${JSON.stringify(expect)} on ${protocol} ${port}, but ${JSON.stringify(answer)}`,
      );
    await pause(50);
  }
}

function askUdp(port, question, _expect, milliseconds) {
  const socket = createSocket("udp4");
  return new Promise((resolve) => {
    const finish = (text) => {
      clearTimeout(timer);
      socket.close();
      resolve(text);
    };
    const timer = setTimeout(() => finish(""), milliseconds);
    socket.on("error", () => finish(""));
    socket.on("message", (message) => finish(message.toString("latin1")));
    socket.send(question, port, "127.0.0.1"); // not connected: TFTP answers from another port
  });
}

function askTcp(port, question, expect) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(question)).setEncoding("latin1");
    let answer = "";
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(finish, 3000);
    socket.on("error", finish).on("close", finish);
    socket.on("data", (part) => {
      answer += part;
      if (answer.includes(expect)) finish();
    });
  });
}
