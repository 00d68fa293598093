import { spawnSync } from "node:child_process";
import { closeSync, fstatSync, openSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FdHandle } from "../../src/fd.ts";
import { native, packageRoot } from "../../src/native.ts";
import { listenFds } from "../../src/systemd/activation.ts";
import { boundSocket } from "../support/sockets.ts";

const module = JSON.stringify(join(packageRoot, "dist/systemd/activation.js"));

/** What a child with these descriptors from 3 upward, and LISTEN_PID its own pid, makes of them. */
function inChild(environment: string, fds: readonly number[], script: string): unknown {
  // The shell knows its pid, and exec keeps it.
  const child = spawnSync(
    "/bin/sh",
    ["-c", `${environment} exec "$0" --input-type=module -e "$1"`, process.execPath, script],
    {
      stdio: ["ignore", "pipe", "pipe", ...fds],
      encoding: "utf8",
    },
  );
  expect(child.stderr).toBe("");
  return JSON.parse(child.stdout);
}

/** A process that has opened nothing itself. */
const ownFds = (): ReadonlySet<number> => new Set();

describe("listenFds", () => {
  it("takes over what was passed, by name, sets CLOEXEC, and removes the variables: a second call finds none", () => {
    const socket = boundSocket("tcp://127.0.0.1:0", 4);
    const other = openSync("/dev/null", "r");
    const result = inChild(
      "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=game:query",
      [socket.fd, other],
      `import { listenFds } from ${module};
       import { readFileSync } from "node:fs";
       import { createServer } from "node:net";
       const fds = listenFds();
       const flags = fds.map(({ handle }) => /flags:\\s*(\\d+)/.exec(readFileSync("/proc/self/fdinfo/" + handle.fd, "utf8"))[1]);
       const server = createServer().listen({ fd: fds[0].handle.fd });
       await new Promise((resolve) => server.once("listening", resolve));
       console.log(JSON.stringify({
         names: fds.map(({ name }) => name), numbers: fds.map(({ handle }) => handle.fd),
         cloexec: flags.map((text) => (parseInt(text, 8) & 0o2000000) !== 0),
         left: Object.keys(process.env).filter((name) => name.startsWith("LISTEN_")),
         again: listenFds().length, port: server.address().port > 0,
       }));
       server.close();`,
    );
    socket.close();
    closeSync(other);
    expect(result).toEqual({
      names: ["game", "query"],
      numbers: [3, 4],
      cloexec: [true, true],
      left: [],
      again: 0,
      port: true,
    });
  });

  it.each([
    ["all passed descriptors were closed", 1, 0],
    ["one was passed, and two are named", 2, 1],
    ["one was passed, and twelve are named", 12, 1],
  ])("never adopts Node's own descriptors when LISTEN_FDS lies: %s", (_, count, passed) => {
    const socket = boundSocket("tcp://127.0.0.1:0", 4);
    const result = inChild(
      `LISTEN_PID=$$ LISTEN_FDS=${count}`,
      new Array<number>(passed).fill(socket.fd),
      `import { listenFds } from ${module};
       import { readdirSync } from "node:fs";
       const before = readdirSync("/proc/self/fd").length;
       let problem;
       try { listenFds(); } catch (error) { problem = { code: error.code, message: error.message }; }
       console.log(JSON.stringify({ ...problem, closed: before - readdirSync("/proc/self/fd").length }));`,
    );
    socket.close();
    expect(result).toEqual({
      code: "USAGE",
      message: expect.stringContaining(`descriptor ${3 + passed} (unknown) is this program's own`),
      closed: 0,
    });
  });

  it("never adopts a socket that the program itself listens on", () => {
    const socket = boundSocket("tcp://127.0.0.1:0", 4);
    const result = inChild(
      "LISTEN_PID=$$ LISTEN_FDS=1",
      [socket.fd],
      `import { listenFds } from ${module};
       import { once } from "node:events";
       import { connect, createServer } from "node:net";
       const server = createServer((player) => player.end()).listen({ fd: 3 });
       await once(server, "listening");
       const player = connect(server.address().port);
       await once(server, "connection");
       try { listenFds(); } catch (error) { console.log(JSON.stringify(error.code)); }
       server.close();
       player.destroy();`,
    );
    socket.close();
    expect(result).toBe("USAGE");
  });

  it("sets CLOEXEC itself: not every descriptor was there for Node to find at its start (hazard 18)", () => {
    const set: number[][] = [];
    const setfd = (...args: [number, number]): number => {
      set.push(args);
      return 0;
    };
    const env = { LISTEN_PID: String(process.pid), LISTEN_FDS: "2" };
    const passed = listenFds({ env, ownFds, sys: { ...native, getfd: () => 0, setfd } });
    expect(set).toEqual([
      [3, 1],
      [4, 1],
    ]);
    expect(passed.map(({ name, handle }) => [name, handle.steal()])).toEqual([
      ["unknown", 3],
      ["unknown", 4],
    ]);
  });

  it("leaves alone what was meant for another process (hazard 17)", () => {
    const env = { LISTEN_PID: "1", LISTEN_FDS: "1", LISTEN_FDNAMES: "game", LISTEN_PIDFDID: "7" };
    expect(listenFds({ env, sys: { ...native, setfd: () => -1, getfd: () => -1 } })).toEqual([]);
    expect(env).toEqual({});
  });

  it("believes LISTEN_PIDFDID, which tells it from a process that had its pid before, where the kernel does", () => {
    using own = FdHandle.adopt(native.pidfdOpen(process.pid));
    const id = fstatSync(own.fd, { bigint: true }).ino;
    const passed = (pidfdId: string): number => {
      const env = { LISTEN_PID: String(process.pid), LISTEN_FDS: "2", LISTEN_PIDFDID: pidfdId };
      const fds = listenFds({ env, ownFds, sys: { ...native, getfd: () => 0, setfd: () => 0 } });
      for (const { handle } of fds) handle.steal();
      return fds.length;
    };
    const known = statfsSync(`/proc/self/fd/${own.fd}`).type === 0x50494446;
    expect([passed(String(id)), passed(String(id + 1n))]).toEqual([2, known ? 0 : 2]);
    expect(() => passed("7x")).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it.each([
    ["a count that is no number", { LISTEN_FDS: "two" }, "USAGE"],
    ["names that do not match the count", { LISTEN_FDS: "1", LISTEN_FDNAMES: "a:b" }, "USAGE"],
    ["a descriptor that is not open", { LISTEN_FDS: "20000" }, "DESCRIPTOR_CLOSED"],
  ])("refuses %s", (_, variables, code) => {
    const env = { LISTEN_PID: String(process.pid), ...variables };
    const sys = { ...native, setfd: () => 0, getfd: (fd: number) => (fd > 100 ? -9 : 0) };
    expect(() => listenFds({ env, ownFds, sys })).toThrow(expect.objectContaining({ code }));
    expect(env).toEqual({});
  });
});
