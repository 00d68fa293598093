/** Which state folder the programs mean when no option names one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { stateFolder } from "../../src/cli/state-folder.ts";
import { defaultStateDirectory } from "../../src/config/directories.ts";
import { startBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { Puppet } from "../support/puppet.ts";
import { berth, fakeBroker } from "./support.ts";

const berthFile = '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n';

test("berth image and berth range work on the folder of the running broker, and not on another one beside it", async () => {
  using folder = new TestFolder({ "tree/etc/motd": "welcome\n" });
  const state = join(folder.path, "state");
  await using running = await startBroker({ "a.toml": berthFile }, { state });
  const at = ["--socket", running.socket];
  const imported = await berth([...at, "image", "import", "arena", join(folder.path, "tree"), "--version", "1"]);
  expect(imported.code).toBe(0);
  expect(existsSync(join(state, "images/arena/1/tree/etc/motd"))).toBe(true);
  expect((await berth([...at, "image", "ls", "--names"])).stdout).toBe("arena@1\n");
  expect((await berth([...at, "range", "ls"])).stdout).toBe("no ranges\n");
  expect(await stateFolder({ socket: running.socket, state: "named" })).toBe(join(process.cwd(), "named"));
});

describe("the default folder is meant", () => {
  it("where no broker runs", async () => {
    expect(await stateFolder({ socket: "/nonexistent/broker" })).toBe(defaultStateDirectory());
  });

  it.each([
    ["has none", { parameters: {} }],
    ["is older", { error: "org.varlink.service.MethodNotFound", parameters: { method: "GetStateFolder" } }],
    ["does not tell", { error: "org.varlink.service.PermissionDenied", parameters: {} }],
  ])("where the broker %s", async (_, reply) => {
    await using broker = await fakeBroker([reply]);
    expect(await stateFolder({ socket: broker.socket })).toBe(defaultStateDirectory());
  });
});

describe("a broker that was given no state folder", () => {
  const root = '[root]\nimage = "arena"\nshift = "none"\n';

  it("has none without roots, and the default one from the first berth with a root on, by a reload too", async () => {
    using folder = new TestFolder();
    const state = join(folder.path, "state");
    await using first = await startBroker({ "a.toml": berthFile }, { defaultState: state });
    await using second = await startBroker({ "a.toml": berthFile }, { defaultState: state });
    expect(await stateFolder({ socket: first.socket })).toBe(defaultStateDirectory());
    expect(existsSync(state)).toBe(false);
    first.folder.write({ "config/rooted.toml": root });
    first.broker.reload();
    expect(first.broker.berths.map(({ name, problems }) => [name, problems])).toEqual([
      ["a", undefined],
      ["rooted", undefined],
    ]);
    expect(await stateFolder({ socket: first.socket })).toBe(state);
    expect(existsSync(join(state, "lock"))).toBe(true);

    // It is the first one's now.
    second.folder.write({ "config/rooted.toml": root });
    expect(() => second.broker.reload()).toThrow(
      `rooted has a root, but its folder ${state} cannot be used: another broker is running: it holds ${state}/lock`,
    );
    expect(second.broker.berths.map(({ name }) => name)).toEqual(["a"]);
  });

  it("has it from its start on where a berth has a root, and no other broker gets it", async () => {
    using folder = new TestFolder();
    const defaultState = join(folder.path, "state");
    await using first = await startBroker({ "rooted.toml": root }, { defaultState });
    expect(await stateFolder({ socket: first.socket })).toBe(defaultState);
    await expect(startBroker({ "rooted.toml": root }, { defaultState })).rejects.toThrow(/it holds .*\/state\/lock/);
  });
});

test("another user is not told the folder (needs root)", needs("root"), async () => {
  using folder = new TestFolder();
  await using running = await startBroker({ "a.toml": berthFile }, { state: join(folder.path, "state") });
  await using nobody = await Puppet.connect(running.socket, { uid: 65534, gid: 65534 });
  expect((await nobody.call("GetStateFolder", {})).error).toBe("org.varlink.service.PermissionDenied");
});
