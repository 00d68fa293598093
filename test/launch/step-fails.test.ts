/** Each system call of the launcher made to fail by strace(1): it must end with 111 and a sentence, never go on. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { encode, FakeBroker, isRoot, launcher, type Outcome, planOf, run, sentence } from "./fake-broker.ts";

const hasStrace = spawnSync("strace", ["-e", "inject=chdir:error=EPERM", "true"], { stdio: "ignore" }).status === 0;
const CAP_NET_BIND_SERVICE = 10;

/** Runs the launcher with `inject`, a tampering of strace(1), on a plan that has every step in it. */
function tamper(broker: FakeBroker, inject: string): Promise<Outcome> {
  const plan = planOf(["/bin/echo", "ran"], {
    fds: [
      { name: "b", index: 2 },
      { name: "a", index: 1 },
    ],
    limits: [{ resource: "core", soft: 0, hard: "keep" }],
    capabilities: [CAP_NET_BIND_SERVICE],
    directory: "/",
  });
  broker.offer(encode(plan), ["a", "b"]);
  const call = inject.slice(0, inject.indexOf(":"));
  const strace = ["strace", "-o", "/dev/null", "-e", `trace=${call}`, "-e", `inject=${inject}`] as const;
  return run([...strace, launcher, "--socket", broker.path, "arena"]);
}

describe.skipIf(!isRoot || !hasStrace)("a step that fails (needs root and strace)", () => {
  test("strace itself changes nothing", async () => {
    using broker = new FakeBroker();
    expect(await tamper(broker, "chdir:error=EPERM:when=9")).toMatchObject({ code: 0, stdout: "ran\n" });
  });

  test.each([
    ["fcntl:error=EPERM", "cannot open /dev/null"],
    ["connect:error=EPERM", "cannot connect to the broker"],
    ["getsockopt:error=EPERM", "cannot tell who runs the broker"],
    ["sendmsg:error=EPERM", "cannot send to the broker"],
    ["recvmsg:error=EPERM", "cannot read the answer"],
    ["rt_sigaction:error=EPERM", "cannot reset signal 1"],
    ["rt_sigprocmask:error=EPERM", "cannot unblock all signals"],
    ["dup3:error=EMFILE", "cannot place descriptor b at fd 3"],
    ["close_range:error=ENOSYS", "cannot close the descriptors from 5 up"],
    ["prlimit64:error=EPERM", "the limit core"],
    ["prctl:error=EPERM:when=1", "cannot set no_new_privs"],
    ["capget:error=EPERM", "cannot read the launcher's capabilities"],
    ["prctl:error=EPERM:when=2", "cannot read capability 0 of the bounding set"],
    ["prctl:error=EPERM:when=3", "cannot drop capability 0 from the bounding set"],
    ["setgroups:error=EPERM", "cannot set the 0 supplementary groups"],
    ["setresgid:error=EPERM", "cannot become gid 65534"],
    ["setresuid:error=EAGAIN", "cannot become uid 65534"],
    ["capset:error=EPERM", "cannot set the server's capabilities"],
    ["chdir:error=EACCES", "cannot enter the directory /"],
    // A call that claims to have worked.
    ["setresuid:retval=0:when=1", "the change to uid 65534 gid 65534 had no effect"],
    ["setresgid:retval=0:when=1", "the change to uid 65534 gid 65534 had no effect"],
    ["setresuid:retval=0:when=2", "root could be regained"],
    ["setresgid:retval=0:when=2", "group root could be regained"],
  ])("%s ends the launch with 111, and nothing runs", async (inject, words) => {
    using broker = new FakeBroker();
    const { code, stdout, stderr } = await tamper(broker, inject);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(words);
  });
});
