import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { FdHandle } from "../../src/fd.ts";
import { native, RECEIVED_LENGTH } from "../../src/native.ts";
import { FdStore, fdStoreMax } from "../../src/systemd/fd-store.ts";
import { ManagerSocket, managerAddress } from "../../src/systemd/manager-socket.ts";
import { TestFolder } from "../support/broker.ts";
import { expectFdsAgain, openFds } from "../support/fds.ts";
import { scripted } from "../support/scripted-native.ts";
import { boundSocket, memfd } from "../support/sockets.ts";

/** What waits at the manager's socket: each message, and how many descriptors came with it. */
function heard(manager: FdHandle): [string, number][] {
  const data = Buffer.alloc(4096);
  const received = new Int32Array(RECEIVED_LENGTH);
  const messages: [string, number][] = [];
  for (;;) {
    const size = native.recvmsg(manager.fd, data, 0, received);
    if (size < 0) return messages;
    for (const fd of received.subarray(2, 2 + (received[0] ?? 0))) native.close(fd);
    messages.push([data.toString("utf8", 0, size), received[0] ?? 0]);
  }
}

function storeAt(folder: TestFolder, max: number, sys = native): { store: FdStore; manager: FdHandle } {
  const path = join(folder.path, "notify");
  const address = managerAddress({ NOTIFY_SOCKET: path });
  if (typeof address !== "object") throw new Error("no address");
  return { store: new FdStore(new ManagerSocket(address, sys), max), manager: boundSocket(`unix-dgram://${path}`) };
}

describe("the store", () => {
  it("is sent each descriptor under its name, not to be watched, and what to remove", () => {
    const before = openFds();
    {
      using folder = new TestFolder();
      const { store, manager } = storeAt(folder, 8);
      using _ = manager;
      using file = memfd();
      expect(store.add("socket.a.b/1", [file.fd])).toBeUndefined();
      expect(store.add("lease.a/7", [file.fd, file.fd])).toBeUndefined();
      expect(store.count).toBe(3);
      store.remove("lease.a/7");
      store.remove("never/stored");
      expect(store.count).toBe(1);
      expect(heard(manager)).toEqual([
        ["FDSTORE=1\nFDPOLL=0\nFDNAME=socket.a.b/1", 1],
        ["FDSTORE=1\nFDPOLL=0\nFDNAME=lease.a/7", 2],
        ["FDSTOREREMOVE=1\nFDNAME=lease.a/7", 0],
      ]);
    }
    expect(openFds()).toEqual(before);
  });

  it("is never sent more than it keeps, nor more names than one variable can hold (hazard 38)", () => {
    using folder = new TestFolder();
    const { store, manager } = storeAt(folder, 2);
    using _ = manager;
    using file = memfd();
    store.recall("socket.a.b/1");
    expect(store.add("lease.a/7", [file.fd, file.fd])).toBe("full");
    expect(store.add("socket.a.c/1", [file.fd])).toBeUndefined();
    expect(store.add("socket.a.d/1", [file.fd])).toBe("full");
    expect(heard(manager)).toHaveLength(1);
    const large = new FdStore(new ManagerSocket({ family: "unix", path: "/none", abstract: false }, native), 100_000);
    const name = "x".repeat(250);
    let count = 0;
    while (count < 1000) {
      large.recall(name);
      count++;
    }
    expect(large.add(name, [file.fd])).toBe("full");
  });

  it.each(["", "a:b", "käse", "x".repeat(256)])("refuses the name %j, which would come back as another", (name) => {
    using folder = new TestFolder();
    const { store, manager } = storeAt(folder, 2);
    using _ = manager;
    expect(() => store.add(name, [0])).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it("reports it when no manager receives the message", () => {
    using folder = new TestFolder();
    const { store, manager } = storeAt(folder, 2);
    manager.close();
    using file = memfd();
    expect(store.add("socket.a.b/1", [file.fd])).toBe("unreachable");
    expect(store.count).toBe(0);
  });

  it("waits for a manager whose queue is full, and loses nothing", () => {
    using folder = new TestFolder();
    let refusals = 3;
    const waited: number[] = [];
    const sys = scripted({
      sendmsg: (...args) => (refusals-- > 0 ? (refusals === 1 ? -109 : -11) : native.sendmsg(...args)),
      pollFor: (_fd, events, milliseconds) => {
        waited.push(events, milliseconds > 0 ? 1 : 0);
        return events;
      },
    });
    const { store, manager } = storeAt(folder, 2, sys);
    using _ = manager;
    using file = memfd();
    expect(store.add("socket.a.b/1", [file.fd])).toBeUndefined();
    expect(waited).toEqual([4, 1, 0, 1, 4, 1]);
    expect(heard(manager)).toHaveLength(1);
  });

  it("waits until what was removed is closed: a barrier with one descriptor alone in its message (hazard 39)", async () => {
    const before = openFds();
    {
      using folder = new TestFolder();
      let polled = 0;
      const sys = scripted({
        pollFor: (fd, events, milliseconds) => {
          polled++;
          expect(heard(manager).at(-1)).toEqual(["BARRIER=1", 1]);
          return native.pollFor(fd, events, milliseconds);
        },
      });
      const { store, manager } = storeAt(folder, 2, sys);
      using _ = manager;
      using file = memfd();
      expect(store.settle()).toBe(true); // nothing was removed
      store.add("socket.a.b/1", [file.fd]);
      store.remove("socket.a.b/1");
      expect(store.settle()).toBe(true);
      expect(store.settle()).toBe(true);
      expect(polled).toBe(1);
    }
    await expectFdsAgain(before);
  });
});

describe("how many descriptors it keeps", () => {
  it.each([
    [{ FDSTORE: "512" }, 512],
    [{ FDSTORE: "0" }, 0],
    [{ FDSTORE: "many" }, undefined],
    [{}, undefined],
  ])("%j says %s", (env, max) => {
    expect(fdStoreMax(env, undefined)).toBe(max);
  });
});

it.each([
  [{}, undefined],
  [{ NOTIFY_SOCKET: "" }, undefined],
  [{ NOTIFY_SOCKET: "/run/notify" }, { family: "unix", path: "/run/notify", abstract: false }],
  [{ NOTIFY_SOCKET: "@notify" }, { family: "unix", path: "notify", abstract: true }],
  [{ NOTIFY_SOCKET: "vsock:2:1234" }, expect.stringContaining("vsock and others not")],
  [{ NOTIFY_SOCKET: `/${"x".repeat(200)}` }, expect.stringContaining("longer than the 107 bytes")],
])("the manager of %j is %j", (env, address) => {
  expect(managerAddress(env)).toEqual(address);
});
