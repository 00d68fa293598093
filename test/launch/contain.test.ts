/** berth-launch --contain: the berth's root where a container manager finds it, and nobody else ever sees it. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { check } from "../../src/errors.ts";
import type { Plan } from "../../src/launch/plan.ts";
import { native } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { openFds } from "../support/fds.ts";
import { mountsHere } from "../support/folders.ts";
import { needs } from "../support/needs.ts";
import { encode, FakeBroker, launch, nobody, planOf, SEALED, sentence, statusIn } from "./fake-broker.ts";

describe("a container manager", needs("root"), () => {
  let folder: TestFolder;
  let broker: FakeBroker;
  let place: string;
  let fds: string[];
  beforeEach(() => {
    fds = openFds();
    folder = new TestFolder();
    place = join(folder.path, "root");
    mkdirSync(place);
    broker = new FakeBroker();
  });
  afterEach(() => {
    broker[Symbol.dispose]();
    folder[Symbol.dispose]();
    expect(openFds()).toEqual(fds);
  });

  /** A file system of its own, mounted nowhere, that its size tells. */
  function detached(): number {
    const context = check("fsopen", native.fsopen("tmpfs"));
    check("fsconfig", native.fsconfigString(context, "size", "12345k"));
    check("fsconfig", native.fsconfigCreate(context));
    const mount = check("fsmount", native.fsmount(context, 0));
    native.close(context);
    return broker.own(mount);
  }

  /** Offers a plan of a shell script, with one socket, one root and one stashed descriptor unless said. */
  function offer(script: string, more: Partial<Plan> = {}, names = ["game", "root", "left"]): void {
    const plan = planOf(["sh", "-c", script], {
      environment: { PATH: "/usr/bin:/bin:/usr/sbin" },
      fds: names.map((name, at) => ({ name, index: at + 1 })),
      ...more,
    });
    const fds = names.map((name) => (name === "root" ? detached() : broker.memfd(name)));
    const text = JSON.stringify({ parameters: { lease: "1", plan: 0 } });
    broker.answer = { text, fds: [broker.memfd("plan", encode(plan), SEALED), ...fds] };
  }

  const contain = (start = {}): ReturnType<typeof launch> => launch(broker, ["--contain", place, "arena"], start);

  test("finds the root at its place, the sockets from 3 up, and keeps what it may", async () => {
    offer(`echo $LISTEN_FDS $LISTEN_FDNAMES; readlink /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5
      df --output=size ${place} | tail -1; pwd; cat /proc/self/status`);
    const { stdout, stderr, code } = await contain();
    expect([stderr, code]).toEqual(["", 0]);
    const [passed, game, left, size, directory] = stdout.split("\n");
    expect([passed, size?.trim()]).toEqual(["2 game:left", "12348"]); // whole pages
    expect([game, left]).toEqual(["game", "left"].map((name) => expect.stringContaining(`/memfd:${name} `)));
    expect(directory).toBe(process.cwd());
    const mine = readFileSync("/proc/self/status", "utf8");
    for (const field of ["Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs"]) {
      expect(statusIn(stdout, field)).toBe(statusIn(mine, field));
    }
  });

  test("mounts nothing that anybody else sees, and leaves nothing behind", async () => {
    const before = mountsHere();
    offer(`grep -c ${place} /proc/self/mountinfo; grep -c ${place} /proc/${process.pid}/mountinfo`);
    expect((await contain()).stdout).toBe("1\n0\n");
    expect(mountsHere()).toEqual(before);
  });

  test.each<[string, Partial<Plan>, string[] | undefined, string]>([
    ["has no root", {}, ["game"], "has no root for --contain; add a section [root]"],
    ["is to have no namespaces", { noNamespaces: true }, undefined, "remove server.no-namespaces"],
    ["is to have its binds reported", { reportBinds: true }, undefined, 'remove "bind" from server.deliver'],
  ])("is not started on a berth that %s", async (_, more, names, why) => {
    offer("echo ran", more, names);
    const { stdout, stderr, code } = await contain();
    expect([stdout, code]).toEqual(["", 111]);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(why);
  });

  test("is started on a berth whose binds the container's profile reports", async () => {
    const script = `df --output=size ${place} | tail -1; grep ^Seccomp_filters: /proc/self/status`;
    offer(script);
    const usual = await contain();
    offer(script, { reportBinds: true });
    const { stdout, stderr, code } = await launch(broker, ["--contain", place, "--agent", "arena"]);
    expect([stderr, code]).toEqual(["", 0]);
    expect(stdout).toMatch(/^ *12348\nSeccomp_filters:\t\d+\n$/);
    expect(stdout).toBe(usual.stdout); // no filter more than without bind delivery
    expect((await launch(broker, ["--agent", "arena"])).stderr).toContain("--agent is for a container");
  });

  test("is not started where there is no such folder", async () => {
    offer("echo ran");
    const { stdout, stderr, code } = await launch(broker, ["--contain", join(place, "none"), "arena"]);
    expect([stdout, code]).toEqual(["", 111]);
    expect(stderr).toContain(`cannot mount the root at ${place}/none: No such file or directory; create that folder`);
  });

  test("has to be root", async () => {
    const { uid, gid } = nobody;
    const { stderr, code } = await contain({ uid, gid });
    expect([code, stderr]).toEqual([100, expect.stringMatching(/^berth-launch: --contain needs root, .*\n$/)]);
    expect(broker.calls).toEqual([]);
  });
});
