import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encode, FakeBroker, launch, launcher, nobody, planOf, run, statusIn } from "./fake-broker.ts";

/** A limit of a process as /proc/PID/limits prints it: [soft, hard]. */
function limitIn(limits: string, name: string): string[] {
  const line = limits.split("\n").find((text) => text.startsWith(name)) ?? "";
  return line.slice(name.length).trim().split(/\s+/).slice(0, 2);
}

describe("a launch", () => {
  test("asks for the berth with what the command line says, absent parts left out", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["true"])));
    expect(await launch(broker, ["arena@bob"])).toMatchObject({ code: 0, stderr: "" });
    const options = ["--replace", "try", "--setenv", "A=1", "--setenv=B=x=y", "--setenv", "A=2", "arena"];
    expect(await launch(broker, [...options, "--", "run", "--dry-run", 'quote" \\ \n\u0001 ü'])).toMatchObject({
      code: 0,
    });
    expect(broker.calls).toEqual([
      { method: "io.berthd.Broker.Launch", parameters: { berth: "arena@bob" } },
      {
        method: "io.berthd.Broker.Launch",
        parameters: {
          berth: "arena",
          command: ["run", "--dry-run", 'quote" \\ \n\u0001 ü'],
          environment: { A: "2", B: "x=y" },
          replace: "try",
        },
      },
    ]);
  });

  test("becomes the server: same pid, its arguments, only the plan's environment", async () => {
    using broker = new FakeBroker();
    const script = 'echo "$$ $1"; exec env';
    broker.offer(
      encode(planOf(["sh", "-c", script, "sh", "two words"], { environment: { A: "b=c" }, listenFds: false })),
    );
    const { pid, code, stdout } = await launch(broker, ["arena"], {
      env: { SECRET: "x", LISTEN_FDS: "1", PATH: "/usr/bin:/bin" },
    });
    expect(code).toBe(0);
    const [first, ...environment] = stdout.trimEnd().split("\n");
    expect(first).toBe(`${pid} two words`);
    expect(environment.filter((entry) => !/^(PWD|SHLVL|_)=/.test(entry))).toEqual(["A=b=c"]);
  });

  test("places the plan's descriptors from 3 in the plan's order and leaves no other open", async () => {
    using broker = new FakeBroker();
    const fds = [
      { name: "query", index: 3 },
      { name: "game", index: 1 },
    ];
    broker.offer(encode(planOf(["ls", "-l", "/proc/self/fd"], { fds })), ["first", "unnamed", "third"]);
    // fd 9 of the shell must not reach the server.
    const { pid, code, stdout } = await run([
      "sh",
      "-c",
      'exec 9</dev/null; exec "$0" --socket "$1" arena',
      launcher,
      broker.path,
    ]);
    expect(code).toBe(0);
    const open = [...stdout.matchAll(/ (\d+) -> (.*)/g)].map(([, fd, target]) => [Number(fd), target]);
    expect(open.slice(3)).toEqual([
      [3, "/memfd:third (deleted)"],
      [4, "/memfd:first (deleted)"],
      [5, `/proc/${pid}/fd`],
    ]);
  });

  test("sets LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES for this process, over those it inherited", async () => {
    using broker = new FakeBroker();
    const fds = [
      { name: "game", index: 1 },
      { name: "query", index: 2 },
    ];
    broker.offer(encode(planOf(["env"], { fds, inheritEnvironment: true, environment: { KEPT: "2" } })), ["a", "b"]);
    const stale = {
      LISTEN_FDS: "7",
      LISTEN_PID: "1",
      LISTEN_FDNAMES: "x",
      LISTEN_PIDFDID: "9",
      LISTEN_ADDRESS: "mine",
    };
    const { pid, stdout } = await launch(broker, ["arena"], { env: { ...stale, KEPT: "1", PATH: "/usr/bin:/bin" } });
    expect(stdout.trimEnd().split("\n").toSorted()).toEqual([
      "KEPT=2",
      "LISTEN_ADDRESS=mine",
      "LISTEN_FDNAMES=game:query",
      "LISTEN_FDS=2",
      `LISTEN_PID=${pid}`,
      "PATH=/usr/bin:/bin",
    ]);
  });

  test.each(["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"])(
    "gives the server no %s that it inherited, or that a plan has, where no descriptor is delivered",
    async (name) => {
      using broker = new FakeBroker();
      const env = { PATH: "/usr/bin:/bin", [name]: "1" };
      for (const environment of [{}, { [name]: "1" }]) {
        broker.offer(encode(planOf(["env"], { listenFds: false, inheritEnvironment: true, environment })));
        expect(await launch(broker, ["arena"], { env })).toMatchObject({ code: 0, stdout: "PATH=/usr/bin:/bin\n" });
      }
    },
  );

  test("takes as many descriptors as one message holds", async () => {
    using broker = new FakeBroker();
    const names = Array.from({ length: 252 }, (_, index) => `fd-${index}`);
    // Backwards, so that most of them sit on another's place.
    const fds = names.map((name, index) => ({ name, index: names.length - index }));
    broker.offer(encode(planOf(["ls", "-l", "/proc/self/fd"], { fds })), names);
    const { code, stdout } = await launch(broker);
    expect(code).toBe(0);
    const open = [...stdout.matchAll(/ (\d+) -> \/memfd:(\S+) /g)].map(([, fd, name]) => ({ fd: Number(fd), name }));
    const wanted = names.toReversed().map((name, index) => ({ fd: index + 3, name }));
    expect(open.toSorted((a, b) => a.fd - b.fd)).toEqual(wanted);
  });

  test("any order of descriptors ends where the plan says", async () => {
    using broker = new FakeBroker();
    const orders = fc.shuffledSubarray([1, 2, 3, 4, 5, 6, 7, 8]);
    await fc.assert(
      fc.asyncProperty(orders, async (order) => {
        const fds = order.map((index) => ({ name: `fd-${index}`, index }));
        broker.offer(encode(planOf(["ls", "-l", "/proc/self/fd"], { fds })), ["1", "2", "3", "4", "5", "6", "7", "8"]);
        const { stdout } = await launch(broker);
        const open = [...stdout.matchAll(/ (\d+) -> \/memfd:(\d+) /g)].map(([, fd, name]) => [
          Number(fd),
          Number(name),
        ]);
        expect(open.toSorted(([a = 0], [b = 0]) => a - b)).toEqual(order.map((index, at) => [at + 3, index]));
      }),
      { numRuns: 30 },
    );
  });

  test("opens /dev/null where fds 0 to 2 were closed, so that no descriptor lands there", async () => {
    using broker = new FakeBroker();
    const server = 'open(my $game, ">&=3"); print $game join "\\n", map { readlink "/proc/self/fd/$_" or "none" } 0..4';
    broker.offer(encode(planOf(["perl", "-e", server], { fds: [{ name: "game", index: 1 }] })), ["game"]);
    const closed = 'exec "$0" --socket "$1" arena <&- >&- 2>&-';
    expect(await run(["sh", "-c", closed, launcher, broker.path])).toMatchObject({ code: 0 });
    const [, game = -1] = typeof broker.answer === "string" ? [] : broker.answer.fds;
    const open = readFileSync(`/proc/self/fd/${game}`, "utf8").split("\n");
    expect(open).toEqual(["/dev/null", "/dev/null", "/dev/null", "/memfd:game (deleted)", "none"]);
  });

  test("gives the server default signals and an empty mask, whatever the launcher was given", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["cat", "/proc/self/status"])));
    const disturbed = ["env", "--ignore-signal=PIPE,XFSZ,RTMIN", "--block-signal=USR1,RTMAX"] as const;
    const before = await run([...disturbed, "cat", "/proc/self/status"]);
    expect(statusIn(before.stdout, "SigIgn")).not.toBe("0000000000000000");
    expect(statusIn(before.stdout, "SigBlk")).not.toBe("0000000000000000");
    const { stdout } = await run([...disturbed, launcher, "--socket", broker.path, "arena"]);
    expect(statusIn(stdout, "SigIgn")).toBe("0000000000000000");
    expect(statusIn(stdout, "SigBlk")).toBe("0000000000000000");
  });

  test("nohup stays nohup: a SIGHUP that the launcher ignores is ignored by the server", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["cat", "/proc/self/status"])));
    const nohup = ["env", "--ignore-signal=HUP,INT,PIPE", launcher, "--socket", broker.path, "arena"] as const;
    const { stdout } = await run(nohup);
    expect(statusIn(stdout, "SigIgn")).toBe("0000000000000001"); // SIGHUP is 1
  });

  test("sets limits, umask and directory", async () => {
    using broker = new FakeBroker();
    const limits = [
      { resource: "nofile", soft: 64, hard: 128 },
      { resource: "core", soft: "unlimited", hard: "keep" },
      { resource: "stack", soft: 4 << 20, hard: "unlimited" },
    ] as const;
    broker.offer(
      encode(planOf(["sh", "-c", "umask; pwd; cat /proc/self/limits"], { limits, umask: 0o137, directory: "/usr" })),
    );
    const { stdout, stderr } = await run([
      "sh",
      "-c",
      'ulimit -S -c 0; ulimit -H -c 100; exec "$0" --socket "$1" a',
      launcher,
      broker.path,
    ]);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^0137\n\/usr\n/);
    expect(limitIn(stdout, "Max open files")).toEqual(["64", "128"]);
    // The shell counts blocks of 512 bytes.
    expect(limitIn(stdout, "Max core file size")).toEqual(["51200", "51200"]);
    expect(limitIn(stdout, "Max stack size")).toEqual([String(4 << 20), "unlimited"]);
  });

  test("searches a program without a slash in the new environment's PATH alone", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["env"], { environment: { PATH: "/nonexistent:/usr/bin:/bin" } })));
    expect(await launch(broker)).toMatchObject({ code: 0 });
    broker.offer(encode(planOf(["env"], { environment: { PATH: "/nonexistent" } })));
    const { code, stderr } = await launch(broker);
    expect(code).toBe(111);
    expect(stderr).toBe(
      "berth-launch: cannot run env: it is not in PATH=/nonexistent; install it, or write its full path in server.command\n",
    );
  });

  test("--dry-run prints the plan and runs nothing", async () => {
    using broker = new FakeBroker();
    const plan = planOf(["touch", "a b"], {
      fds: [{ name: "game", index: 1 }],
      environment: { A: "ü" },
      user: nobody,
      capabilities: [10],
      limits: [{ resource: "nofile", soft: 64, hard: "keep" }],
      directory: broker.folder,
    });
    broker.offer(encode(plan), ["game"]);
    const { code, stdout, stderr } = await launch(broker, ["--dry-run", "arena"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").map((line) => line.replace(/^(fd 3|\S*) +/, "$1 "))).toEqual([
      'berth "arena"',
      'lease "1"',
      'program "touch"',
      'argument "a b"',
      "environment only",
      ' "A=ü"',
      'fd 3 "game"',
      "listen-fds yes",
      "bind not reported",
      "user uid 65534 gid 65534 groups none",
      "capabilities 10",
      "limit nofile soft 64 hard as it is",
      "umask 0022",
      `directory "${broker.folder}"`,
      "",
    ]);
    expect(readdirSync(broker.folder)).toEqual(["broker"]);
  });

  test("--dry-run prints the root that would be entered, and enters none", async () => {
    using broker = new FakeBroker();
    const binds = [{ source: "/srv/maps", target: "/maps", readOnly: true }];
    const root = { userns: 1, mount: 2, keepGroups: true, mounts: [{ index: 3, target: "/proc" }], binds };
    broker.offer(encode(planOf(["true"], { user: { uid: 7, gid: 8, groups: [] }, root })), ["a", "b", "c"]);
    const { code, stdout } = await launch(broker, ["--dry-run", "arena"]);
    expect(code).toBe(0);
    expect(stdout).toContain("user         uid 7 gid 8 groups as they are\n");
    expect(stdout).toMatch(
      /root {9}the berth's own; ids and paths are those inside\nmount {8}"\/proc"\nbind, ro {5}"\/maps"\n {2}of {9}"\/srv\/maps"\n$/,
    );
  });
});
