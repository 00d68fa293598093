/** `tenancy.root` from end to end: tenants by the library, in processes of their own, on the roots of a real broker. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contentsOf } from "../rootfs/world.ts";
import { spawnBroker, startBroker, TestFolder } from "../support/broker.ts";
import { expectFdsAgain, openFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { fixtures, type User } from "../support/puppet.ts";

/** A user without privilege. */
const USER = 64_324;

let before: string[];
let home: TestFolder;

beforeEach(() => {
  before = openFds();
  home = new TestFolder({ "arena/etc/motd": "welcome", "arena/home/score": "0", "arena/bin/server": "#!/bin/sh\n" });
});

afterEach(async () => {
  home[Symbol.dispose]();
  await expectFdsAgain(before);
});

const upper = (berth: string): string => join(home.path, "state/roots", berth, "upper");
/** Files that a berth has on disk, and whose they are: `etc/motd 1000:1000`. */
const onDisk = (berth: string): string[] =>
  contentsOf(upper(berth)).map((line) => {
    const [name = "", , uid, gid] = line.split(" ");
    return `${name} ${uid}:${gid}`;
  });

/** A tenant of a berth (test/fixtures/tenant.mjs). */
class Tenant implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #answers: AsyncIterableIterator<string>;

  constructor(berth: string, socket: string, user?: User) {
    const args = [join(fixtures, "tenant.mjs"), berth, socket];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"], ...user });
    this.#exited = once(this.#child, "exit");
    if (this.#child.stdout === null) throw new Error("no pipe");
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** What a method of its `tenancy.root` gives; for an error its name. */
  async root(...call: readonly unknown[]): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(call)}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error(`the tenant died of ${call.join(" ")}`);
    const { result, error } = JSON.parse(value) as { result?: unknown; error?: string };
    return error ?? result;
  }

  /** It releases its berth and exits. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#exited;
  }
}

/** Does all that a tenant does to files, and sees what came of it. */
async function work(tenant: Tenant, owner: number): Promise<void> {
  expect(await tenant.root("readFile", "/etc/motd", "utf8")).toBe("welcome");
  expect(await tenant.root("readdir", "/")).toEqual(expect.arrayContaining(["bin", "etc", "home"]));
  expect(await tenant.root("stat", "etc/motd")).toEqual({ uid: owner, gid: owner, mode: "100644" });
  expect(await tenant.root("writeFile", "etc/motd", "mine")).toBeUndefined();
  expect(await tenant.root("open", "etc/motd")).toBe("mine");
  expect(await tenant.root("mkdir", "/save/games", { recursive: true })).toBeUndefined();
  expect(await tenant.root("writeFile", "/save/games/one", "1")).toBeUndefined();
  expect(await tenant.root("rename", "/save/games/one", "/save/two")).toBeUndefined();
  expect(await tenant.root("readdir", "/save")).toEqual(expect.arrayContaining(["games", "two"]));
  expect(await tenant.root("readFile", "/save/games/one")).toBe("ENOENT");
  expect(await tenant.root("open", "/save/two")).toBe("1");
  expect(await tenant.root("stat", "/save/two")).toEqual({ uid: owner, gid: owner, mode: "100644" });
  expect(await tenant.root("unlink", "bin/server")).toBeUndefined();
  expect(await tenant.root("readdir", "bin")).toEqual([]);
  // What leads up stays at the top, and the host's folder of images is not there.
  expect(await tenant.root("readFile", "/../../../../etc/motd", "utf8")).toBe("mine");
  expect(await tenant.root("stat", home.path)).toBe("ENOENT");
}

describe("the root of a tenancy (needs root)", needs("root"), () => {
  it("has the image's files and takes the tenant's, by the range's ids, which no other berth of that image sees", async () => {
    const image = join(home.path, "arena");
    chownSync(join(image, "home/score"), 33, 33);
    chmodSync(join(image, "home/score"), 0o640);
    const untouched = contentsOf(image);
    const root = `[root]\nimage = "${image}"\n`;
    await using test = await startBroker({ "a.toml": root, "b.toml": root }, { state: join(home.path, "state") });
    {
      await using a = new Tenant("a", test.socket);
      await using b = new Tenant("b", test.socket);
      // Each has answered once its lease is there, and with it the range.
      expect(await a.root("readFile", "bin/server", "utf8")).toBe("#!/bin/sh\n");
      expect(await b.root("readFile", "bin/server", "utf8")).toBe("#!/bin/sh\n");
      const [mine = 0, theirs = 0] = test.broker.berths.map(({ range }) => range?.base);
      expect([mine, theirs].every((base) => base > 65_535 && base % 65_536 === 0)).toBe(true);
      expect(mine).not.toBe(theirs);
      await work(a, mine);
      expect(await a.root("stat", "home/score")).toEqual({ uid: mine + 33, gid: mine + 33, mode: "100640" });
      expect(await a.root("readFile", "home/score")).toBe("EACCES");

      expect(await b.root("readFile", "etc/motd", "utf8")).toBe("welcome");
      expect(await b.root("stat", "/save")).toBe("ENOENT");
      expect(await b.root("stat", "bin/server")).toEqual({ uid: theirs, gid: theirs, mode: "100644" });
      expect(onDisk("b")).toEqual([]);
      await work(b, theirs);

      const written = ["etc", "etc/motd", "save", "save/games", "save/two"];
      for (const [berth, id] of [
        ["a", mine],
        ["b", theirs],
      ] as const) {
        const files = onDisk(berth).filter((line) => !line.startsWith("bin"));
        expect(files).toEqual(written.map((name) => `${name} ${id}:${id}`));
        expect(readFileSync(join(upper(berth), "etc/motd"), "utf8")).toBe("mine");
      }
    }
    expect(contentsOf(image)).toEqual(untouched);
    await using next = new Tenant("a", test.socket);
    expect(await next.root("readFile", "/save/two", "utf8")).toBe("1");
  });

  it("of a broker without root is the same, by the ids of its user", needs("setpriv"), async () => {
    const image = join(home.path, "arena");
    execFileSync("chown", ["-R", `${USER}:${USER}`, home.path]);
    const untouched = contentsOf(image);
    // The broker's folder is the user's, and the broker, too.
    const become = `chown -R ${USER}:${USER} "$(dirname "$4")"; exec setpriv --reuid=${USER} --regid=${USER} --clear-groups -- "$@"`;
    const root = `[root]\nimage = "${image}"\n`;
    await using broker = await spawnBroker(
      { "a.toml": root, "b.toml": root },
      ["--state", join(home.path, "state")],
      ["sh", "-c", become, "sh"],
    );
    {
      const asUser = { uid: USER, gid: USER };
      await using a = new Tenant("a", broker.socket, asUser);
      await work(a, USER);
      await using b = new Tenant("b", broker.socket, asUser);
      expect(await b.root("readFile", "etc/motd", "utf8")).toBe("welcome");
      expect(await b.root("stat", "/save")).toBe("ENOENT");
      expect(onDisk("a").filter((line) => !line.startsWith("bin"))).toEqual(
        ["etc", "etc/motd", "save", "save/games", "save/two"].map((name) => `${name} ${USER}:${USER}`),
      );
      expect(onDisk("b")).toEqual([]);
    }
    expect(contentsOf(image)).toEqual(untouched);
    await broker.logged(({ event }) => event === "released");
  });
});
