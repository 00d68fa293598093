/** What a host finds wrong with itself before another host drains a berth that shall come here. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { BerthFiles } from "../../../packages/fleet/src/agent/berth-files.ts";
import { doOrder, type Tools } from "../../../packages/fleet/src/agent/copies/copy.ts";
import { Staging } from "../../../packages/fleet/src/agent/copies/staging.ts";
import { StateSocket } from "../../../packages/fleet/src/agent/copies/state-socket.ts";
import { ChunkStore } from "../../../packages/fleet/src/store/index.ts";
import { TestFolder } from "../../support/broker.ts";
import { StateStandIn } from "../../support/fleet/state-stand-in.ts";

const signal = new AbortController().signal;
const order = {
  ...{ berth: "a-1", generation: 1, id: "0123456789abcdef", step: 1 },
  task: { do: "prepare", images: [], root: { image: "/srv/image" } },
} as const;

function toolsOf(folder: TestFolder, stateSocket: string): { tools: Tools; reloads: () => number } {
  let reloads = 0;
  const broker = {
    reload: async () => {
      reloads++;
      return undefined;
    },
    present: async () => new Set<string>(),
  };
  const files = new BerthFiles(join(folder.path, "berths"));
  const tools: Tools = {
    store: new ChunkStore(join(folder.path, "store"), 1_000_000),
    tls: { ca: "", cert: "", key: "" },
    state: new StateSocket(stateSocket),
    staging: new Staging(files, broker, () => undefined, signal),
    heldRoot: () => undefined,
    problemOf: () => undefined,
  };
  return { tools, reloads: () => reloads };
}

it("a host without the program behind --state-socket refuses a berth with files at once", async () => {
  using folder = new TestFolder();
  const { tools, reloads } = toolsOf(folder, join(folder.path, "none.sock"));
  const prepared = doOrder(order, tools, () => undefined, signal);
  await expect(prepared).rejects.toMatchObject({
    code: "STATE_REFUSED",
    message: expect.stringContaining("none.sock: ENOENT; start the program"),
  });
  expect(reloads()).toBe(0);
});

it("a host whose program does not serve the agent refuses a berth with files at once", async () => {
  using folder = new TestFolder();
  await using state = await StateStandIn.start(() => ({ socket: "", stateFile: () => "" }));
  const { tools } = toolsOf(folder, state.socket);
  state.before = async () => {
    throw new Error("only user 0 is served");
  };
  await expect(doOrder(order, tools, () => undefined, signal)).rejects.toThrow("only user 0 is served");
  state.before = async () => undefined;
  expect(await doOrder(order, tools, () => undefined, signal)).toEqual({ images: [] });
});
