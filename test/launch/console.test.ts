/** A server with a console: its terminal, and the keeper beside it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { check } from "../../src/errors.ts";
import type { Plan } from "../../src/launch/plan.ts";
import { native } from "../../src/native.ts";
import { encodeSockaddr } from "../../src/net/address.ts";
import { FrameReader, inputFrames, sizeFrame } from "../../src/net/console-frames.ts";
import { needs } from "../support/needs.ts";
import { encode, FakeBroker, launch, launcher, planOf, run, statusIn } from "./fake-broker.ts";

/** Offers a plan with a console from now on. Returns where its readers connect. */
function offer(broker: FakeBroker, script: string, more: Partial<Plan> = {}): string {
  chmodSync(broker.folder, 0o755);
  const path = join(broker.folder, "console");
  const listener = check("socket", native.socket(1, 1, 0));
  check("bind", native.bind(listener, encodeSockaddr({ family: "unix", path, abstract: false })));
  check("listen", native.listen(listener, 16));
  broker.offerFds(
    encode(planOf(["sh", "-c", script], { environment: { PATH: "/usr/bin:/bin" }, console: 1, ...more })),
    [listener],
  );
  return path;
}

/** Starts the launcher, with what it writes to standard output. */
class Server implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly exited: Promise<unknown[]>;
  output = "";

  constructor(broker: FakeBroker, isLogRead = true) {
    this.child = spawn(launcher, ["--socket", broker.path, "arena"], { stdio: ["ignore", "pipe", "pipe"] });
    this.exited = once(this.child, "exit");
    if (isLogRead) this.child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.output += text));
  }

  async says(text: string): Promise<void> {
    await expect.poll(() => this.output, { timeout: 30_000 }).toContain(text);
  }

  /**
   * The keeper's process: the only one of that name with the console's listening socket. Only root sees its sockets.
   */
  keeper(inode: string): number[] {
    return readdirSync("/proc")
      .map(Number)
      .filter((pid) => pid > 0 && nameOf(pid) === "berth-console" && hasSocket(pid, inode));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

function hasSocket(pid: number, inode: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`);
  } catch {
    return false;
  }
}

/** The inode of a listening socket, of /proc/net/unix. */
function inodeOf(path: string): string {
  const line = readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    .find((text) => text.endsWith(` ${path}`));
  return line?.trim().split(/\s+/)[6] ?? "";
}

/** A reader of the console. */
class Reader implements Disposable {
  readonly socket: Socket;
  /** What it got: from before it came, and since. */
  old = "";
  output = "";
  end: string | undefined;

  constructor(path: string) {
    const frames = new FrameReader();
    this.socket = createConnection(path);
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("data", (bytes: Buffer) => {
      for (const frame of frames.push(bytes)) {
        if (frame.kind === "end") this.end = frame.end;
        else if (frame.isOld) this.old += frame.bytes;
        else this.output += frame.bytes;
      }
    });
  }

  type(text: string): void {
    this.socket.write(inputFrames(Buffer.from(text)));
  }

  async says(text: string): Promise<void> {
    await expect.poll(() => this.old + this.output, { timeout: 30_000 }).toContain(text);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

const echoing = 'echo ready; while read -r line; do echo "got $line"; done';

describe("a server with a console", () => {
  test("has the launcher's pid, a terminal as standard streams, a session of its own, and no other descriptor", async () => {
    using broker = new FakeBroker();
    offer(broker, "echo $$; readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; exec ls -l /proc/self/fd");
    const { pid, code, stdout } = await launch(broker);
    expect(code).toBe(0);
    const [own, stdin, ...rest] = stdout.trimEnd().split("\n");
    expect(own).toBe(`${pid}`);
    expect(stdin).toMatch(/^\/dev\/pts\/\d+$/);
    expect(rest.slice(0, 2)).toEqual([stdin, stdin]);
    const fds = rest
      .slice(2)
      .filter((line) => line.includes("->"))
      .map((line) => line.split(" -> ")[0]?.split(" ").at(-1));
    expect(fds).toEqual(["0", "1", "2", "3"]); // 3 is the folder that ls reads
  });

  test("has it as controlling terminal, also where a shell made the launcher a job", async () => {
    using broker = new FakeBroker();
    offer(broker, "cat /proc/self/stat; tty");
    // The shell complains that it has no terminal itself.
    const job = await run(["bash", "-mc", `${launcher} --socket ${broker.path} arena </dev/null & wait $!`]);
    expect(job).toMatchObject({ code: 0, stderr: expect.not.stringContaining("berth-launch") });
    const [stat = "", tty = ""] = job.stdout.trimEnd().split("\n");
    const [, , , , , session, terminal] = stat.split(" ");
    expect(Number(session)).toBeGreaterThan(1);
    // tty_nr of proc_pid_stat(5): the major number of UNIX98 slaves is 136, and the minor its number.
    expect(Number(terminal)).toBe((136 << 8) | Number(tty.replace("/dev/pts/", "")));
  });

  test("writes lines to the log as without one: no escape sequence, no carriage return, nothing lost at its end", async () => {
    using broker = new FakeBroker();
    offer(broker, 'printf "\\033[31mred\\033[0m\\n\\033]0;title\\007"; seq 1 20000; printf "last"; exit 3');
    const { code, stdout } = await launch(broker);
    expect(code).toBe(3);
    const numbers = Array.from({ length: 20_000 }, (_, at) => `${at + 1}\n`).join("");
    expect(stdout === `red\n${numbers}last\n`).toBe(true);
  });

  test("has no control character of two bytes in its log, also not from what is left between escape sequences", async () => {
    using broker = new FakeBroker();
    // U+009B begins a sequence, as ESC [ does. U+00A0 and é begin with the same byte, or end with one of those.
    const bytes = [
      "a\\302\\2332Jb",
      "c\\302\\033[m\\233d",
      "e\\302\\r\\237f",
      "\\302\\240g",
      "\\303\\251",
      "\\342\\202\\254",
    ];
    offer(broker, bytes.map((line) => `printf '${line}\\n'; `).join(""));
    const { code, stdout } = await launch(broker);
    expect(code).toBe(0);
    expect(stdout).toBe("a2Jb\ncd\ne\nf\n\u00a0g\né\n€\n");
  });

  test("gets what readers type, and all readers see it; one that comes later sees what was before", async () => {
    using broker = new FakeBroker();
    const path = offer(broker, echoing);
    await using server = new Server(broker);
    await server.says("ready");
    using first = new Reader(path);
    using second = new Reader(path);
    await first.says("ready");
    await second.says("ready");
    first.type("one\r");
    await second.says("got one");
    second.type("two\r");
    await first.says("got two");
    using third = new Reader(path);
    await third.says("got two");
    expect(third.output).toBe("");
    expect(third.old).toBe("ready\r\none\r\ngot one\r\ntwo\r\ngot two\r\n");
    expect(server.output).toBe("ready\none\ngot one\ntwo\ngot two\n");
  });

  test("gets Ctrl-C as a signal, and the size of the reader's terminal", async () => {
    using broker = new FakeBroker();
    const path = offer(broker, 'trap "stty size; exit 7" INT; echo ready; while read -r line; do :; done');
    await using server = new Server(broker);
    using reader = new Reader(path);
    await reader.says("ready");
    reader.socket.write(sizeFrame(33, 120));
    reader.type("\u0003");
    expect(await server.exited).toEqual([7, null]);
    await reader.says("33 120");
  });

  test("never waits for a reader that does not read", async () => {
    using broker = new FakeBroker();
    const path = offer(broker, "echo ready; read -r line; seq 1 200000; echo done; read -r line");
    await using server = new Server(broker);
    using slow = new Reader(path);
    await slow.says("ready");
    slow.socket.pause();
    using other = new Reader(path);
    other.type("go\r");
    await server.says("done");
    slow.socket.resume();
    await expect.poll(() => slow.end, { timeout: 30_000 }).toBe("slow");
    other.type("stop\r");
    await expect.poll(() => other.end, { timeout: 30_000 }).toBe("ended");
  });

  test("refuses the 17th reader with a word", async () => {
    using broker = new FakeBroker();
    const path = offer(broker, echoing);
    await using server = new Server(broker);
    await server.says("ready");
    const readers: Reader[] = [];
    try {
      for (let i = 0; i < 17; i++) {
        const reader = new Reader(path);
        readers.push(reader);
        await (i < 16 ? reader.says("ready") : expect.poll(() => reader.end).toBe("full"));
      }
    } finally {
      for (const reader of readers) reader[Symbol.dispose]();
    }
  });

  test("ends with the server's own status, and leaves no process behind", needs("root"), async () => {
    using broker = new FakeBroker();
    const path = offer(broker, echoing);
    const server = new Server(broker);
    await server.says("ready");
    const inode = inodeOf(path);
    const keepers = server.keeper(inode);
    expect(keepers).toHaveLength(1);
    using reader = new Reader(path);
    await reader.says("ready");
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual([null, "SIGTERM"]);
    await expect.poll(() => reader.end).toBe("ended");
    await expect.poll(() => server.keeper(inode)).toEqual([]);
  });
});

describe("the keeper of a console", () => {
  test("has no privilege and no filter, blocks all signals, and is no child of the server", needs("root"), async () => {
    using broker = new FakeBroker();
    const path = offer(broker, echoing, { noNamespaces: true });
    await using server = new Server(broker);
    await server.says("ready");
    const [pid] = server.keeper(inodeOf(path));
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const ofServer = readFileSync(`/proc/${server.child.pid}/status`, "utf8");
    expect(statusIn(status, "Uid")).toBe(statusIn(ofServer, "Uid"));
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) expect(statusIn(status, set)).toMatch(/^0+$/);
    expect(statusIn(status, "NoNewPrivs")).toBe("1");
    expect(Number(statusIn(status, "Seccomp_filters"))).toBe(Number(statusIn(ofServer, "Seccomp_filters")) - 1);
    expect(statusIn(status, "SigBlk")).toBe("fffffffe7ffbfeff"); // all but SIGKILL, SIGSTOP and those of libc
    expect(statusIn(status, "PPid")).not.toBe(`${server.child.pid}`);
    expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toBe(readFileSync(`/proc/${server.child.pid}/cgroup`, "utf8"));
  });

  test(
    "is out of reach of the server: its memory and descriptors are root's (PR_SET_DUMPABLE)",
    needs("root"),
    async () => {
      using broker = new FakeBroker();
      const path = offer(
        broker,
        "echo ready; read -r pid; ls /proc/$pid/fd 2>&1; head -c1 /proc/$pid/mem 2>&1; echo done",
      );
      await using server = new Server(broker);
      await server.says("ready");
      const [pid] = server.keeper(inodeOf(path));
      using reader = new Reader(path);
      reader.type(`${pid}\r`);
      await server.says("done");
      expect(server.output.match(/Permission denied/g)).toHaveLength(2);
    },
  );
});

test("where standard input is a terminal, that is the console", needs("script"), async () => {
  using broker = new FakeBroker();
  offer(broker, "tty");
  const command = `${launcher} --socket ${broker.path} arena`;
  const { code, stdout } = await run(["script", "-qec", `tty; ${command}`, "/dev/null"]);
  expect(code).toBe(0);
  const [terminal, ofServer] = stdout.trimEnd().split("\r\n");
  expect(ofServer).toBe(terminal);
});
