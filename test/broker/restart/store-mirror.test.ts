import { expect, it } from "vitest";
import { StoreMirror } from "../../../src/broker/restart/store-mirror.ts";
import { native } from "../../../src/native.ts";
import { FdStore } from "../../../src/systemd/fd-store.ts";
import { ManagerSocket, managerAddress } from "../../../src/systemd/manager-socket.ts";
import { TestFolder } from "../../support/broker.ts";
import { boundSocket } from "../../support/sockets.ts";

it("a stored stash whose file system no longer answers can be dropped, and the broker keeps running", () => {
  using folder = new TestFolder();
  using _ = boundSocket(`unix-dgram://${folder.path}/notify`);
  const address = managerAddress({ NOTIFY_SOCKET: `${folder.path}/notify` });
  if (typeof address !== "object") throw new Error("no address");
  const store = new FdStore(new ManagerSocket(address, native), 8);
  const mirror = new StoreMirror({ store, sys: native, log: () => {}, berths: { all: () => [] } });
  mirror.count("stash.arena/state");
  // As with a file of a FUSE server that is gone: fstat(2) fails.
  mirror.recall("stash.arena/state", 9999).drop();
  expect(store.count).toBe(0);
  mirror.close();
});
