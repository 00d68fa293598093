import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { needs, pathOf } from "../support/needs.ts";
import {
  encode,
  FakeBroker,
  launch,
  launcher,
  nobody,
  type Outcome,
  planOf,
  run,
  SEALED,
  sentence,
  statusIn,
} from "./fake-broker.ts";

/** What only root can do; elsewhere these are skipped, and their names say why. */

describe("a launch by root (needs root)", needs("root"), () => {
  test("the server has uid, gid and groups of the plan, no capability in any set, and no way to get one", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["cat", "/proc/self/status"], { user: { uid: 65534, gid: 65533, groups: [7, 8] } })));
    const { stdout } = await launch(broker);
    expect(statusIn(stdout, "Uid")).toBe("65534\t65534\t65534\t65534");
    expect(statusIn(stdout, "Gid")).toBe("65533\t65533\t65533\t65533");
    expect(statusIn(stdout, "Groups")?.trim()).toBe("7 8");
    expect(statusIn(stdout, "NoNewPrivs")).toBe("1");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      expect([set, statusIn(stdout, set)]).toEqual([set, "0000000000000000"]);
    }
  });

  test("a capability that the plan keeps is in every set, and no other", async () => {
    using broker = new FakeBroker();
    const CAP_NET_BIND_SERVICE = 10;
    broker.offer(encode(planOf(["cat", "/proc/self/status"], { capabilities: [CAP_NET_BIND_SERVICE] })));
    const { stdout } = await launch(broker);
    expect(statusIn(stdout, "Uid")).toBe("65534\t65534\t65534\t65534");
    expect(statusIn(stdout, "NoNewPrivs")).toBe("1");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      expect([set, statusIn(stdout, set)]).toEqual([set, "0000000000000400"]);
    }
  });

  test("a server that shall be root has no capability either", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["cat", "/proc/self/status"], { user: { uid: 0, gid: 0, groups: [] } })));
    const { stdout } = await launch(broker);
    expect(statusIn(stdout, "Uid")).toBe("0\t0\t0\t0");
    expect(statusIn(stdout, "CapEff")).toBe("0000000000000000");
    expect(statusIn(stdout, "CapBnd")).toBe("0000000000000000");
  });

  test("a launcher that is root refuses a plan without a user", async () => {
    using broker = new FakeBroker();
    const { user: _, ...plan } = planOf(["true"]);
    broker.offer(encode(plan));
    expect(await launch(broker)).toMatchObject({
      code: 111,
      stderr: expect.stringContaining("does not say as which user its server runs; set server.user"),
    });
  });

  test.each([
    ["real uid", ["--ruid=0", "--euid=65534"]],
    ["effective uid", ["--ruid=65534", "--euid=0"]],
  ])(
    "a launcher of which only the %s is root's refuses a plan without a user too",
    needs("setpriv"),
    async (_, ids) => {
      using broker = new FakeBroker();
      expect((await run(["chmod", "-R", "a+rwX", broker.folder])).code).toBe(0);
      const { user: __, ...plan } = planOf(["echo", "ran"]);
      broker.offer(encode(plan));
      const { code, stdout, stderr } = await run(["setpriv", ...ids, launcher, "--socket", broker.path, "arena"]);
      expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
      expect(stderr).toContain("does not say as which user its server runs; set server.user");
    },
  );

  test("a launcher whose real uid alone is root's does not pass for the plan's user", needs("setpriv"), async () => {
    using broker = new FakeBroker();
    expect((await run(["chmod", "-R", "a+rwX", broker.folder])).code).toBe(0);
    broker.offer(encode(planOf(["echo", "ran"], { user: nobody })));
    const ids = ["--ruid=0", "--euid=65534", "--regid=65534", "--clear-groups"];
    const { code, stdout, stderr } = await run(["setpriv", ...ids, launcher, "--socket", broker.path, "arena"]);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain("cannot change to uid 65534 gid 65534 from uid 65534");
  });

  test("a directory that only root may enter is refused, for the server is to be in it", async () => {
    using broker = new FakeBroker();
    const directory = join(broker.folder, "closed");
    mkdirSync(directory, { mode: 0o700 });
    broker.offer(encode(planOf(["true"], { directory })));
    const { code, stderr } = await launch(broker);
    expect(code).toBe(111);
    expect(stderr).toContain(`cannot enter the directory ${directory} as uid 65534: Permission denied`);
  });

  test("root does not obey a broker that another user runs", async () => {
    // Stands in for a socket that somebody else listens on: SO_PEERCRED names who called listen(2).
    using broker = new FakeBroker();
    const path = join(broker.folder, "theirs");
    const listen = 'require("node:net").createServer((s) => s.destroy()).listen(process.argv[1], () => console.log(1))';
    const drop = "process.setgroups([]); process.setgid(65534); process.setuid(65534);";
    const script = `const fs = require("node:fs"); fs.chmodSync(${JSON.stringify(broker.folder)}, 0o777); ${drop} ${listen}`;
    const theirs = spawn(process.execPath, ["-e", script, path], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await new Promise((resolve) => theirs.stdout.once("data", resolve));
      const { code, stderr } = await run([launcher, "--socket", path, "arena"]);
      expect(code).toBe(111);
      expect(stderr).toContain("runs as uid 65534, and root uses only a broker of root");
    } finally {
      theirs.kill();
    }
  });
});

describe(
  "a program with file capabilities (needs root, setcap and setpriv)",
  needs("root", "setcap", "setpriv"),
  () => {
    const SETS = ["CapInh", "CapPrm", "CapEff", "CapAmb"];

    /** Launches cat, or a script that cat reads, where a file has capabilities. */
    async function launched(
      broker: FakeBroker,
      given: { command: string; plan?: object; on?: string },
    ): Promise<Outcome> {
      chmodSync(broker.folder, 0o755);
      copyFileSync("/bin/cat", join(broker.folder, "server"));
      chmodSync(join(broker.folder, "server"), 0o755);
      writeFileSync(join(broker.folder, "script"), `#! ${broker.folder}/server\n`, { mode: 0o755 });
      execFileSync(pathOf("setcap"), [
        "cap_net_bind_service,cap_sys_admin=+ep",
        join(broker.folder, given.on ?? "server"),
      ]);
      broker.offer(encode(planOf([given.command, "/proc/self/status"], given.plan)));
      return launch(broker);
    }

    test.each([
      ["its path", (folder: string) => ({ command: `${folder}/server` })],
      ["a path in the berth's directory", (folder: string) => ({ command: "./server", plan: { directory: folder } })],
      [
        "its name in PATH",
        (folder: string) => ({ command: "server", plan: { environment: { PATH: `/none:${folder}` } } }),
      ],
      ["a script that it interprets", (folder: string) => ({ command: `${folder}/script` })],
    ])("starts, by %s, and has none of them", async (_what, how) => {
      using broker = new FakeBroker();
      const { code, stdout, stderr } = await launched(broker, how(broker.folder));
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(statusIn(stdout, "NoNewPrivs")).toBe("1");
      for (const set of SETS) expect([set, statusIn(stdout, set)]).toEqual([set, "0000000000000000"]);
    });

    test("as root has none of them either", async () => {
      using broker = new FakeBroker();
      const plan = { user: { uid: 0, gid: 0, groups: [] } };
      const { stdout } = await launched(broker, { command: `${broker.folder}/server`, plan });
      expect(statusIn(stdout, "Uid")).toBe("0\t0\t0\t0");
      for (const set of SETS) expect([set, statusIn(stdout, set)]).toEqual([set, "0000000000000000"]);
    });

    test("that the launcher's own bounding set lacks is told what to do", async () => {
      using broker = new FakeBroker();
      await launched(broker, { command: "/bin/cat" });
      broker.offer(encode(planOf([`${broker.folder}/server`])));
      const without = "--bounding-set=-net_bind_service";
      const { code, stderr } = await run([pathOf("setpriv"), without, launcher, "--socket", broker.path, "arena"]);
      expect(code).toBe(111);
      expect(stderr).toMatch(sentence);
      expect(stderr).toContain("Operation not permitted; if it has file capabilities, remove them: setcap -r FILE");
    });

    test("another program beside it starts with an empty bounding set", async () => {
      using broker = new FakeBroker();
      const { stdout } = await launched(broker, { command: "/bin/cat" });
      expect(statusIn(stdout, "CapBnd")).toBe("0000000000000000");
    });
  },
);

describe("a socket that root has opened, where another process answers (needs root)", needs("root"), () => {
  const TENANT = 64_321;
  const OTHER = 64_322;
  const ROOT = { uid: 0, gid: 0 };

  /** Launches as `user` at a socket of root on which `uid` answers with a plan. */
  async function answered(uid: number, user: { uid: number; gid: number }, ...part: string[]): Promise<Outcome> {
    using broker = new FakeBroker();
    chmodSync(broker.folder, 0o755);
    const plan = broker.memfd("plan", encode(planOf(["echo", "ran"], { user: { ...user, groups: [] } })), SEALED);
    const path = join(broker.folder, "passed-on");
    const fixture = join(packageRoot, "test/fixtures/launch/answer.py");
    const tenant = spawn("python3", [fixture, path, String(uid), ...part], {
      stdio: ["ignore", "pipe", "inherit", plan],
    });
    const ended = once(tenant, "close");
    const says = tenant.stdout;
    if (says === null) throw new Error("the tenant has a pipe");
    try {
      await once(says, "data");
      return await run([launcher, "--socket", path, "arena"], user);
    } finally {
      tenant.kill();
      await ended;
    }
  }

  test("root obeys no plan of a tenant", async () => {
    const { code, stdout, stderr } = await answered(TENANT, ROOT);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(`answers as uid ${TENANT}, and root uses only a broker of root; give that one's socket`);
  });

  test("root obeys no plan that a tenant has put behind root's own words", async () => {
    const { code, stdout, stderr } = await answered(TENANT, ROOT, "part");
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain("cannot tell which user sent the answer");
  });

  test("a user obeys no plan of another user", async () => {
    const { code, stdout, stderr } = await answered(TENANT, { uid: OTHER, gid: OTHER });
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain(`answers as uid ${TENANT}, and uid ${OTHER} uses only its own broker or root's`);
  });

  test.each([
    ["root obeys root", 0, ROOT],
    ["a user obeys itself", TENANT, { uid: TENANT, gid: TENANT }],
    ["a user obeys root", 0, { uid: TENANT, gid: TENANT }],
  ])("%s", async (_, uid, user) => {
    expect(await answered(uid, user)).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
  });
});

describe("a launch by an unprivileged user (run by root, who becomes that user)", needs("root"), () => {
  const user = { uid: 65534, gid: 65534 };

  test("its own user needs no change, and capabilities it was given go", needs("setpriv"), async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["cat", "/proc/self/status"], { user: nobody })));
    const ambient = [
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "--inh-caps=+chown",
      "--ambient-caps=+chown",
    ] as const;
    const reach = await run(["chmod", "-R", "a+rwX", broker.folder]);
    expect(reach.code).toBe(0);
    const before = await run(["setpriv", ...ambient, "cat", "/proc/self/status"]);
    expect(statusIn(before.stdout, "CapEff")).toBe("0000000000000001");
    const { stdout, stderr } = await run(["setpriv", ...ambient, launcher, "--socket", broker.path, "arena"]);
    expect(stderr).toBe("");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
      expect([set, statusIn(stdout, set)]).toEqual([set, "0000000000000000"]);
    }
    expect(statusIn(stdout, "NoNewPrivs")).toBe("1");
  });

  test.each([
    ["another user", { user: { uid: 1, gid: 1, groups: [] } }, "cannot change to uid 1 gid 1 from uid 65534 gid 65534"],
    [
      "a capability that it does not hold",
      { user: nobody, capabilities: [10] },
      "cannot set the server's capabilities",
    ],
  ])("%s cannot be had, and nothing runs", async (_, change, words) => {
    using broker = new FakeBroker();
    await run(["chmod", "-R", "a+rwX", broker.folder]);
    broker.offer(encode(planOf(["echo", "ran"], change)));
    const { code, stdout, stderr } = await launch(broker, ["arena"], user);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain(words);
  });
});
