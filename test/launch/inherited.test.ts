/** Descriptors that a service manager passed to the launcher reach the server, after the berth's. */
import { closeSync, openSync, statfsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { encode, FakeBroker, launcher, type Outcome, planOf, runWith, sentence } from "./fake-broker.ts";

let file: number;
beforeEach(() => {
  file = openSync("/etc/hostname", "r");
});
afterEach(() => {
  closeSync(file);
});

/** The launcher, with `count` descriptors passed from 3 upward. LISTEN_PID is its pid if `environment` has none. */
function launchWith(broker: FakeBroker, environment: string, count = 2): Promise<Outcome> {
  const script = `LISTEN_PID=$$ ${environment} exec "$0" --socket "$1" arena`;
  return runWith(["sh", "-c", script, launcher, broker.path], new Array<number>(count).fill(file));
}

/** A server that prints its variables of activation and what it has open above 2. */
const server = ["sh", "-c", 'env | grep ^LISTEN_ | grep -v _PID= | sort; test "$LISTEN_PID" = $$ && ls -l /proc/$$/fd'];

function variables({ stdout }: Outcome): string[] {
  return stdout.split("\n").filter((line) => line.startsWith("LISTEN_"));
}

function open({ stdout }: Outcome): string[] {
  return Array.from(stdout.matchAll(/ (\d+ -> .*)$/gm), ([, line = ""]) => line).filter(
    (line) => !/^[0-2] /.test(line),
  );
}

describe("a launch by a service manager", () => {
  test("hands its descriptors over after the berth's, with their names", async () => {
    using broker = new FakeBroker();
    const fds = [
      { name: "query", index: 2 },
      { name: "game", index: 1 },
    ];
    broker.offer(encode(planOf(server, { fds })), ["game", "query"]);
    const outcome = await launchWith(broker, "LISTEN_FDS=2 LISTEN_FDNAMES=motd:");
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(variables(outcome)).toEqual(["LISTEN_FDNAMES=query:game:motd:", "LISTEN_FDS=4"]);
    expect(open(outcome)).toEqual([
      "3 -> /memfd:query (deleted)",
      "4 -> /memfd:game (deleted)",
      "5 -> /etc/hostname",
      "6 -> /etc/hostname",
    ]);
  });

  test("hands them over alone where the berth's sockets come by bind delivery, unnamed ones as unknown", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(server, { listenFds: false })));
    const outcome = await launchWith(broker, "LISTEN_FDS=1");
    expect(variables(outcome)).toEqual(["LISTEN_FDNAMES=unknown", "LISTEN_FDS=1"]);
    expect(open(outcome)).toEqual(["3 -> /etc/hostname"]); // the second was not named, so it is nobody's
  });

  test("sets LISTEN_PIDFDID where the manager sets it, and believes none that is another process's", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(server)));
    const script = `import os, sys
pid = os.getpid()
inode = os.fstat(os.pidfd_open(int(sys.argv[1]) or pid)).st_ino
os.environ |= {"LISTEN_PID": str(pid), "LISTEN_FDS": "1", "LISTEN_PIDFDID": str(inode)}
os.execv(sys.argv[2], sys.argv[2:])`;
    const of = async (pid: number): Promise<string[]> => {
      const command = ["python3", "-c", script, String(pid), launcher, "--socket", broker.path, "arena"] as const;
      return variables(await runWith(command, [file])).map((line) => line.replace(/(PIDFDID=).+/, "$1…"));
    };
    const passed = ["LISTEN_FDNAMES=unknown", "LISTEN_FDS=1", "LISTEN_PIDFDID=…"];
    expect(await of(0)).toEqual(passed);
    using own = FdHandle.adopt(native.pidfdOpen(process.pid));
    const hasIds = statfsSync(`/proc/self/fd/${own.fd}`).type === 0x50494446;
    expect(await of(process.pid)).toEqual(hasIds ? ["LISTEN_FDNAMES=", "LISTEN_FDS=0"] : passed);
  });

  test.each([
    ["more than are open", "LISTEN_FDS=3", "LISTEN_FDS is 3, but fd 5 is not open"],
    ["more than anybody passes", "LISTEN_FDS=5000", "LISTEN_FDS is 5000, above 4096"],
    ["names that do not match", "LISTEN_FDS=2 LISTEN_FDNAMES=a:b:c", "LISTEN_FDNAMES has 3 names, but LISTEN_FDS is 2"],
  ])("is refused where LISTEN_FDS says %s", async (_, environment, why) => {
    using broker = new FakeBroker();
    const outcome = await launchWith(broker, environment);
    expect(outcome).toMatchObject({ code: 100, stderr: expect.stringMatching(sentence) });
    expect(outcome.stderr).toContain(why);
    expect(broker.calls).toEqual([]);
  });
});
