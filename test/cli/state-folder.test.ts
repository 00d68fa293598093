/** Which state folder the programs mean when no option names one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { stateFolder, stateFolderFor } from "../../src/cli/state-folder.ts";
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

  it("by a broker whose berths have a root; without roots it has none, so that two can run", () => {
    using folder = new TestFolder({ "a.toml": `${berthFile}[server]\nuser = "root"\n`, "more/b.toml": berthFile });
    const root = '[root]\nimage = "arena"\n';
    expect(stateFolderFor(undefined, [folder.path])).toBeUndefined();
    folder.write({ "a.toml.d/root.toml": root });
    expect(stateFolderFor(undefined, [folder.path])).toBe(defaultStateDirectory());
    expect(stateFolderFor("/named", [folder.path])).toBe("/named");
  });
});

test("another user is not told the folder (needs root)", needs("root"), async () => {
  using folder = new TestFolder();
  await using running = await startBroker({ "a.toml": berthFile }, { state: join(folder.path, "state") });
  await using nobody = await Puppet.connect(running.socket, { uid: 65534, gid: 65534 });
  expect((await nobody.call("GetStateFolder", {})).error).toBe("org.varlink.service.PermissionDenied");
});
