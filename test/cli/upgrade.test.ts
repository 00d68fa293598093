/** `berth upgrade` where systemd does not run: real images, real servers, and versions that do not serve. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { type BrokerProcess, isReady, launchBroker, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, type Ended, endServersWithTest, imageTemplate, withoutSystemd } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const POOL = "0x61100000-0x611fffff";
/** What the server of each version does. */
const versions = {
  "one/run": "exec sleep 1000\n",
  "two/run": "exec sleep 1001\n",
  "bad/run": "exit 3\n",
};

interface Scene extends AsyncDisposable {
  readonly broker: BrokerProcess;
  /** Its options. */
  readonly extra: readonly string[];
  run(...words: readonly string[]): Promise<Ended>;
  use(version: string): Promise<void>;
  /** The pid and the images of each berth. */
  served(): Promise<Record<string, readonly [number | undefined, string | undefined]>>;
}

/** Three servers of the first version. */
async function scene(names: readonly string[] = ["arena@a", "arena@b", "arena@c"]): Promise<Scene> {
  const folder = new TestFolder(versions);
  const state = join(folder.path, "state");
  for (const version of ["two", "bad", "one"])
    await berth(["image", "import", "arena", join(folder.path, version), "--version", version, "--state", state]);
  await berth(["image", "use", "arena@one", "--state", state]);
  const files = Object.fromEntries(names.map((name) => [`${name}.toml`, ""]));
  const extra = ["--state", state, "--ranges", POOL];
  const broker = await spawnBroker({ "arena@.toml": imageTemplate, ...files }, extra);
  endServersWithTest(broker.socket);
  const run: Scene["run"] = (...words) => withoutSystemd(words, { BERTHD_SOCKET: broker.socket });
  expect(await run("start", "arena@*")).toMatchObject({ code: 0, stderr: "" });
  const served: Scene["served"] = async () => {
    const berths: readonly { name: string; lease?: { pid: number }; root: { images: string[] } }[] = JSON.parse(
      (await run("ls", "--json")).stdout,
    );
    return Object.fromEntries(berths.map(({ name, lease, root }) => [name, [lease?.pid, root.images[0]] as const]));
  };
  const dispose = async (): Promise<void> => {
    await broker[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  };
  const use = async (version: string): Promise<void> => {
    expect(await run("image", "use", `arena@${version}`)).toMatchObject({ code: 0 });
  };
  return { broker, extra, run, use, served, [Symbol.asyncDispose]: dispose };
}

const imagesOf = async (world: Scene): Promise<(string | undefined)[]> =>
  Object.values(await world.served()).map(([, image]) => image);

describe("berth upgrade", needs("root", "unshare"), () => {
  test("drains the old server, and starts the version of --image; then there is nothing to do", async () => {
    await using world = await scene(["arena@a"]);
    const before = await world.served();
    const done = await world.run("upgrade", "--image", "arena@two", "--deadline", "1s", "arena@a");
    const after = await world.served();
    expect(done).toEqual({
      code: 0,
      stdout: `arena@a: upgraded to pid ${after["arena@a"]?.[0]}, arena@two\n`,
      stderr: "",
    });
    expect(after["arena@a"]?.[1]).toBe("arena@two");
    expect(after["arena@a"]?.[0]).not.toBe(before["arena@a"]?.[0]);
    expect(world.broker.log.some(({ message }) => message.includes("the deadline of its drain has come"))).toBe(true);
    const pid = after["arena@a"]?.[0];
    expect(await world.run("upgrade", "--now", "arena@a")).toEqual({
      code: 0,
      stdout: `arena@a: pid ${pid} is of the present version\n`,
      stderr: "",
    });
    const [forced] = JSON.parse((await world.run("upgrade", "--now", "--force", "--json", "arena@a")).stdout);
    expect(forced).toMatchObject({ berth: "arena@a", kind: "upgraded", images: ["arena@two"] });
    expect(forced.pid).not.toBe(pid);
  });

  test("starts the old version again where the new one does not serve, says why, and begins no other", async () => {
    await using world = await scene();
    const failed = await world.run("upgrade", "--image", "arena@bad", "--now", "arena@*");
    const after = await world.served();
    expect(failed.code).toBe(111);
    expect(failed.stdout).toBe("");
    expect(failed.stderr.split("\n")).toEqual([
      expect.stringMatching(
        new RegExp(
          `^berth: the new version of berth arena@a does not serve: .*ended.*; arena@one runs again, as pid ${after["arena@a"]?.[0]}, and is the current version$`,
        ),
      ),
      "berth: arena@b arena@c not begun; once that is solved, the same command goes on",
      "",
    ]);
    expect(await imagesOf(world)).toEqual(["arena@one", "arena@one", "arena@one"]);
    // The same command with a version that serves goes on with all of them, and again with those that are left.
    await world.run("upgrade", "--image", "arena@two", "--now", "arena@b");
    const rolled = await world.run("upgrade", "--image", "arena@two", "--now", "--max-parallel", "2", "arena@*");
    expect({ code: rolled.code, stderr: rolled.stderr }).toEqual({ code: 0, stderr: "" });
    expect(rolled.stdout.trimEnd().split("\n").sort()).toEqual([
      expect.stringMatching(/^arena@a: upgraded to pid \d+, arena@two$/),
      expect.stringMatching(/^arena@b: pid \d+ is of the present version$/),
      expect.stringMatching(/^arena@c: upgraded to pid \d+, arena@two$/),
    ]);
    expect(await imagesOf(world)).toEqual(["arena@two", "arena@two", "arena@two"]);
  });

  test("leaves the old server alone when somebody cancels its drain", async () => {
    await using world = await scene(["arena@a"]);
    await world.use("two");
    const before = await world.served();
    const upgrade = world.run("upgrade", "arena@a");
    await expect.poll(async () => (await world.run("drain", "--cancel", "arena@a")).stdout).toContain("no longer");
    expect(await upgrade).toEqual({
      code: 111,
      stdout: "",
      stderr: "berth: berth arena@a: its drain was cancelled, or its server could not be stopped; its server goes on\n",
    });
    expect((await world.served())["arena@a"]?.[0]).toBe(before["arena@a"]?.[0]);
  });

  test("goes on when the broker is killed while the old server drains", async () => {
    await using world = await scene(["arena@a"]);
    const before = await world.served();
    const upgrade = world.run("upgrade", "--image", "arena@two", "--deadline", "6s", "arena@a");
    await world.broker.logged(({ event }) => event === "drain");
    world.broker.child.kill("SIGKILL");
    await world.broker.exited;
    await using next = launchBroker(world.broker.folder, world.extra);
    await next.logged(isReady);
    expect(await upgrade).toMatchObject({ code: 0, stderr: "" });
    const after = await world.served();
    expect(after["arena@a"]?.[1]).toBe("arena@two");
    expect(after["arena@a"]?.[0]).not.toBe(before["arena@a"]?.[0]);
  });

  test("goes on when the broker is killed after the new server has started, and before it counts as serving", async () => {
    await using world = await scene(["arena@a"]);
    const before = await world.served();
    const upgrade = world.run("upgrade", "--image", "arena@two", "--now", "arena@a");
    await expect.poll(async () => (await world.served())["arena@a"]?.[1], { timeout: 60_000 }).toBe("arena@two");
    world.broker.child.kill("SIGKILL");
    await world.broker.exited;
    await using next = launchBroker(world.broker.folder, world.extra);
    await next.logged(isReady);
    expect(await upgrade).toMatchObject({ code: 0, stderr: "" });
    const after = await world.served();
    expect(after["arena@a"]?.[0]).not.toBe(before["arena@a"]?.[0]);
  });

  test("at Ctrl-C cancels the drain that it has begun, and the old server goes on", async () => {
    await using world = await scene(["arena@a"]);
    await world.use("two");
    const before = await world.served();
    let child: ChildProcess | undefined;
    const env = { BERTHD_SOCKET: world.broker.socket };
    const upgrade = withoutSystemd(["upgrade", "arena@a"], env, (one) => {
      child = one;
    });
    await world.broker.logged(({ event }) => event === "drain");
    child?.kill("SIGINT");
    expect(await upgrade).toEqual({ code: null, stdout: "", stderr: "berth: interrupted; the same command goes on\n" });
    expect((await world.served())["arena@a"]?.[0]).toBe(before["arena@a"]?.[0]);
    expect((await world.run("drain", "--cancel", "arena@a")).stdout).toBe("arena@a: was not draining\n");
  });

  test("of a version or a berth that is not there, or of one that would not get it, changes nothing", async () => {
    await using world = await scene(["arena@a"]);
    const before = await world.served();
    expect(await world.run("upgrade", "--image", "arena@three", "--now", "arena@a")).toMatchObject({ code: 1 });
    world.broker.folder.write({ "config/arena@a.toml.d/fixed.toml": '[root]\nimage = "arena@one"\n' });
    expect(await world.run("reload")).toMatchObject({ code: 0 });
    const refused = await world.run("upgrade", "--image", "arena@two", "--now", "arena@a");
    expect(refused).toEqual({
      code: 1,
      stdout: "",
      stderr: 'berth: berth arena@a does not get arena@two: its file must say image = "arena"; nothing has changed\n',
    });
    expect(await world.run("upgrade", "--image", "arena@two", "--now", "nope")).toMatchObject({ code: 1, stdout: "" });
    expect((await world.served())["arena@a"]?.[0]).toBe(before["arena@a"]?.[0]);
    const images = JSON.parse((await world.run("image", "ls", "--json")).stdout);
    expect(images.find(({ current }: { readonly current: boolean }) => current).version).toBe("one");
  });
});

test.each([
  [["--image", "arena"]],
  [["--image", "arena@"]],
  [["--max-parallel", "0"]],
  [["--max-parallel", "1.5"]],
  [["--deadline", "1d"]],
  [["--now", "--when-empty"]],
  [["--now", "--deadline", "1h"]],
])("%j is wrong usage", async (words) => {
  expect(await berth(["upgrade", ...words, "lobby"])).toMatchObject({ code: 100, stdout: "" });
});
