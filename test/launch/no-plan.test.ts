import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { native, RECEIVED_LENGTH } from "../../src/native.ts";
import { boundSocket } from "../support/sockets.ts";
import { encode, FakeBroker, launch, launcher, planOf, run, SEALED, sentence } from "./fake-broker.ts";

describe("a broker that does not hand the berth over", () => {
  const occupied = "io.berthd.Broker.BerthOccupied";

  test("an error ends with 1 and the broker's own message", async () => {
    using broker = new FakeBroker();
    const message = 'the berth "arena"\nis held by pid 7: 𝒲ait, ü \u001b[31m';
    broker.answer = {
      text: JSON.stringify({ error: occupied, parameters: { berth: '"message":"x"', message } }),
      fds: [],
    };
    expect(await launch(broker)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: 'berth-launch: the berth "arena" is held by pid 7: 𝒲ait, ü  [31m\n',
    });
    broker.answer = {
      text: `{"error":"${occupied}","parameters":{"message":"\\ud835\\udcb2 \\ud835 \\/ \\u00e"}}`,
      fds: [],
    };
    expect((await launch(broker)).stderr).toBe("berth-launch: 𝒲 \ufffd / \ufffd\n");
  });

  test("an error without a message ends with 1 and its name", async () => {
    using broker = new FakeBroker();
    broker.answer = { text: JSON.stringify({ error: occupied, parameters: {} }), fds: [] };
    expect(await launch(broker)).toMatchObject({ code: 1, stderr: `berth-launch: ${occupied}\n` });
  });

  test("--absent-status is the exit code where there is no such berth, or it may not be taken, and nowhere else", async () => {
    using broker = new FakeBroker();
    const codeOf = async (error: string, ...options: string[]) => {
      broker.answer = { text: JSON.stringify({ error, parameters: { message: "no" } }), fds: [] };
      return (await launch(broker, [...options, "arena"])).code;
    };
    const [absent, denied] = ["io.berthd.Broker.NoSuchBerth", "org.varlink.service.PermissionDenied"];
    expect(await codeOf(absent)).toBe(1);
    expect(await codeOf(absent, "--absent-status", "101")).toBe(101);
    expect(await codeOf(denied, "--absent-status", "101")).toBe(101);
    expect(await codeOf(occupied, "--absent-status", "101")).toBe(1);
    for (const status of ["0", "256", "x"]) expect(await codeOf(absent, "--absent-status", status)).toBe(100);
  });

  describe("--wait", () => {
    const problems = (message: string) => ({
      text: JSON.stringify({ error: "io.berthd.Broker.BerthHasProblems", parameters: { message } }),
      fds: [],
    });

    test("asks again until the berth has no problem, says each problem once, and has no descriptor of an error", async () => {
      using broker = new FakeBroker();
      broker.answer = { ...problems("the port is busy"), fds: [broker.memfd("plan")] };
      const started = launch(broker, ["--wait", "arena", "--", "sh", "-c", "ls /proc/self/fd | wc -l"]);
      await expect.poll(() => broker.calls.length, { timeout: 30_000 }).toBe(2);
      broker.answer = problems("a typo");
      await expect.poll(() => broker.calls.length, { timeout: 30_000 }).toBe(3);
      broker.offer(encode(planOf(["sh", "-c", "ls /proc/self/fd | wc -l"])));
      expect(await started).toMatchObject({
        code: 0,
        stdout: "4\n", // 0, 1, 2, and that of ls itself
        stderr:
          "berth-launch: the port is busy; waiting until it has none\nberth-launch: a typo; waiting until it has none\n",
      });
    });

    test("waits for nothing else, and without it nothing is waited for", async () => {
      using broker = new FakeBroker();
      broker.answer = { text: JSON.stringify({ error: occupied, parameters: { message: "no" } }), fds: [] };
      expect(await launch(broker, ["--wait", "arena"])).toMatchObject({ code: 1, stderr: "berth-launch: no\n" });
      broker.answer = problems("a typo");
      expect(await launch(broker)).toMatchObject({ code: 1, stderr: "berth-launch: a typo\n" });
    });

    test("tells the service manager, and ends at SIGTERM", async () => {
      using broker = new FakeBroker();
      const address = join(broker.folder, "notify");
      using manager = boundSocket(`unix-dgram://${address}`);
      broker.answer = problems("a typo");
      const env = { ...process.env, NOTIFY_SOCKET: address };
      const child = spawn(launcher, ["--socket", broker.path, "--wait", "arena"], { stdio: "ignore", env });
      const ended = once(child, "exit");
      const data = Buffer.alloc(4096);
      const received = (): string => {
        const size = native.recvmsg(manager.fd, data, 0, new Int32Array(RECEIVED_LENGTH));
        return data.toString("utf8", 0, Math.max(0, size));
      };
      await expect.poll(received).toBe("EXTEND_TIMEOUT_USEC=90000000\nSTATUS=waiting: a typo");
      child.kill("SIGTERM");
      expect(await ended).toEqual([null, "SIGTERM"]);
    });
  });

  test("the descriptors of an error are not used", async () => {
    using broker = new FakeBroker();
    const plan = broker.memfd("plan", encode(planOf(["echo", "ran"])), SEALED);
    broker.answer = { text: JSON.stringify({ error: occupied, parameters: {} }), fds: [plan] };
    expect(await launch(broker)).toMatchObject({ code: 1, stdout: "" });
  });

  test.each([
    ["no descriptor at all", '{"parameters":{}}', "sent no plan"],
    ["neither a success nor an error", '{"hello":{}}', "neither a success nor an error"],
    ["an empty answer", "", "neither a success nor an error"],
    ["two answers", '{"parameters":{}}\0{"parameters":{}}', "more than one answer"],
  ])("%s ends with 111", async (_, text, words) => {
    using broker = new FakeBroker();
    broker.answer = { text, fds: [] };
    expect(await launch(broker)).toMatchObject({ code: 111, stderr: expect.stringContaining(words) });
  });

  test("no broker there", async () => {
    using broker = new FakeBroker();
    const path = join(broker.folder, "nobody");
    expect(await run([launcher, "--socket", path, "arena"])).toMatchObject({
      code: 111,
      stderr: `berth-launch: cannot connect to the broker at ${path}: No such file or directory; start berthd, or give its socket with --socket or BERTHD_SOCKET\n`,
    });
    const abstract = `@${path}`;
    expect((await run([launcher, "arena"], { env: { BERTHD_SOCKET: abstract } })).stderr).toContain(
      `at ${abstract}: Connection refused`,
    );
  });

  test("a broker that never answers is waited for no longer than --timeout", async () => {
    using broker = new FakeBroker();
    broker.answer = "silence";
    expect(await launch(broker, ["--timeout", "0.2", "arena"])).toMatchObject({
      code: 111,
      stderr: expect.stringContaining("did not answer within 0.2 s"),
    });
  });

  test("a broker that hangs up", async () => {
    using broker = new FakeBroker();
    expect(await launch(broker)).toMatchObject({
      code: 111,
      stderr: expect.stringContaining("closed the connection without an answer"),
    });
  });

  test("more descriptors than the limit of open files lets in: the sentence names the limit", async () => {
    using broker = new FakeBroker();
    const names = Array.from({ length: 40 }, (_, index) => `fd-${index}`);
    const fds = names.map((name, index) => ({ name, index: index + 1 }));
    broker.offer(encode(planOf(["echo", "ran"], { fds })), names);
    const { code, stdout, stderr } = await run([
      "sh",
      "-c",
      'ulimit -n 20; exec "$0" --socket "$1" arena',
      launcher,
      broker.path,
    ]);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain("this process may open 20 files");
  });
});

describe("usage", () => {
  test.each([
    [[], "BERTH is missing"],
    [[""], "BERTH is missing"],
    [["--nonsense", "arena"], "there is no option --nonsense;"],
    [["-x", "arena"], "there is no option -x;"],
    [["arena", "--replace", "try"], "write options before it: berth-launch --replace arena"],
    [["arena", "--dry-run"], "To run a program of that name: berth-launch arena -- --dry-run"],
    [["--socket"], "option --socket needs a value"],
    [["--replace", "maybe", "arena"], "write no, try or must"],
    [["--setenv", "A", "arena"], "write --setenv NAME=VALUE"],
    [["--setenv", "=b", "arena"], "write --setenv NAME=VALUE"],
    [["--timeout", "0", "arena"], "--timeout 0 is not a number of seconds"],
    [["--timeout", "nan", "arena"], "--timeout nan is not a number of seconds"],
    [["--socket", `/${"x".repeat(107)}`, "arena"], "must have 1 to 107 bytes"],
  ])("%j is refused with 100 and a sentence", async (args, words) => {
    const { code, stderr } = await run([launcher, ...args]);
    expect(code).toBe(100);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(words);
  });

  test.each([
    ["\\377", "the berth's name"],
    ["arena x \\300\\200", "argument 1 of the command"],
    ["arena \\355\\240\\200", "the command"],
    ["arena \\364\\220\\200\\200", "the command"],
    ["--setenv A=\\342\\202 arena", "a variable's value in --setenv"],
  ])("bytes that are not UTF-8 are refused, since JSON cannot carry them: %s", async (octal, words) => {
    using broker = new FakeBroker();
    const script = `exec "$0" --socket "$1" $(printf -- '${octal}')`;
    const { code, stderr } = await run(["sh", "-c", script, launcher, broker.path]);
    expect(code).toBe(100);
    expect(stderr).toContain(`berth-launch: ${words} is not valid UTF-8`);
    expect(broker.calls).toEqual([]);
  });

  test("arguments above 1 MiB are refused with a sentence, before a berth is taken", async () => {
    using broker = new FakeBroker();
    const words = Array.from({ length: 10 }, () => "x".repeat(110_000));
    const { code, stderr } = await launch(broker, ["arena", "--", "true", ...words]);
    expect(code).toBe(100);
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(
      /^berth-launch: the command and the variables of --setenv take 1100\d+ bytes, and a call has room for 1048576;/,
    );
    expect(broker.calls).toEqual([]);
  });

  test("--help and --version answer on stdout", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await run([launcher, "--version"])).toMatchObject({
      code: 0,
      stdout: `berth-launch ${version}\n`,
      stderr: "",
    });
    expect(await run([launcher, "--help"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Usage: berth-launch /),
    });
  });
});
