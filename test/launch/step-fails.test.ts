/** Each system call of the launcher made to fail by strace(1): it must end with 111 and a sentence, never go on. */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { needs } from "../support/needs.ts";
import { encode, FakeBroker, launcher, type Outcome, planOf, run, sentence } from "./fake-broker.ts";
import { makeLayers, offerRoot, treeOf } from "./root-kit.ts";

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
    noNamespaces: true,
    directory: "/",
  });
  broker.offer(encode(plan), ["a", "b"]);
  return traced(broker, inject);
}

function traced(broker: FakeBroker, inject: string): Promise<Outcome> {
  const call = inject.slice(0, inject.indexOf(":"));
  const strace = ["strace", "-o", "/dev/null", "-e", `trace=${call}`, "-e", `inject=${inject}`] as const;
  return run([...strace, launcher, "--socket", broker.path, "arena"]);
}

/** The same with a plan that enters a root, in which there is nothing to run. */
function tamperRoot(broker: FakeBroker, inject: string): Promise<Outcome> {
  const image = join(broker.folder, "image");
  mkdirSync(image);
  chmodSync(broker.folder, 0o755);
  const binds = [{ source: image, target: "/bound", readOnly: true }];
  const mounts = { "/mounted": treeOf(image) };
  offerRoot(broker, makeLayers(broker.folder, image), ["/server"], { mounts, binds });
  return traced(broker, inject);
}

describe("a step that fails (needs root and strace)", needs("root", "strace"), () => {
  test("strace itself changes nothing", async () => {
    using broker = new FakeBroker();
    expect(await tamper(broker, "chdir:error=EPERM:when=9")).toMatchObject({ code: 0, stdout: "ran\n" });
  });

  test.each([
    ["fcntl:error=EPERM", "cannot open /dev/null"],
    ["connect:error=EPERM", "cannot connect to the broker"],
    ["setsockopt:error=EPERM:when=1", "cannot connect to the broker"],
    ["getsockopt:error=EPERM", "cannot read which user runs the broker"],
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
    ["seccomp:error=EINVAL", "cannot install the call filter"],
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

  test("strace itself changes nothing in a root either", async () => {
    using broker = new FakeBroker();
    const { code, stderr } = await tamperRoot(broker, "pivot_root:error=EPERM:when=9");
    expect(code).toBe(111);
    expect(stderr).toContain("cannot run /server as uid 0: No such file or directory");
  });

  test.each([
    ["setns:error=EPERM", "cannot join the user namespace of the berth's root"],
    ["setgroups:error=EPERM:when=1", "cannot leave the launcher's groups"],
    ["setresgid:error=EPERM:when=1", "cannot become group root of the root's user namespace"],
    ["setresuid:error=EAGAIN:when=1", "cannot become root of the root's user namespace"],
    ["unshare:error=ENOSPC", "cannot make a mount namespace"],
    ["mount:error=EPERM:when=1", "cannot make the mount namespace private"],
    ["open_tree:error=EPERM:when=1", "cannot copy /dev/null into the root"],
    ["open_tree:error=EACCES:when=7", "for root.binds: Permission denied"],
    ["mount_setattr:error=EPERM", "cannot restrict the mount of"],
    ["open_tree:error=EPERM:when=8", "cannot copy the mount of the berth's root"],
    ["move_mount:error=EINVAL:when=1", "before Linux 6.15 a root can be entered once"],
    ["fchdir:error=EACCES", "cannot enter the root"],
    ["pivot_root:error=EINVAL", "cannot change to the berth's root"],
    ["umount2:error=EBUSY", "cannot leave the old root"],
    ["chdir:error=EACCES", "cannot enter the root"],
    ["mkdir:error=EACCES:when=1", "cannot create /dev in the root, to mount /dev"],
    ["mkdir:error=EROFS:when=1", "the root is read-only, so create it in the image"],
    ["mount:error=EPERM:when=2", "cannot mount a tmpfs at /dev"],
    ["mount:error=ENOMEM:when=5", "cannot mount a tmpfs at /run"],
    ["move_mount:error=EPERM:when=2", "cannot mount the device at /dev/null"],
    ["symlink:error=EDQUOT", "cannot make the link /dev/fd"],
    ["move_mount:error=EPERM:when=8", "cannot mount the folder or file of the plan at /mounted"],
    ["move_mount:error=EPERM:when=10", "cannot mount the folder or file of the plan at /bound"],
    ["pivot_root:retval=0", "the change of the root had no effect"],
    ["prctl:error=EPERM:when=1", "cannot set no_new_privs"],
    ["setgroups:error=EPERM:when=2", "cannot set the 0 supplementary groups"],
    ["capset:error=EPERM", "cannot set the server's capabilities"],
  ])("%s on the way into a root ends the launch with 111, and nothing runs", async (inject, words) => {
    using broker = new FakeBroker();
    const { code, stdout, stderr } = await tamperRoot(broker, inject);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(words);
  });
});
