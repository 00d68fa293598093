import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { StoreMirror } from "../../../src/broker/restart/store-mirror.ts";
import { check } from "../../../src/errors.ts";
import { adoptReceived, closeAll, FdHandle } from "../../../src/fd.ts";
import { native, RECEIVED_LENGTH } from "../../../src/native.ts";
import { FdStore } from "../../../src/systemd/fd-store.ts";
import { ManagerSocket, managerAddress } from "../../../src/systemd/manager-socket.ts";
import { berth as specOf } from "../../config/fixture.ts";
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

it("leases that share a pidfd are stored with one of their own each, for systemd keeps one descriptor of an open file", () => {
  using folder = new TestFolder();
  using notify = boundSocket(`unix-dgram://${folder.path}/notify`);
  const address = managerAddress({ NOTIFY_SOCKET: `${folder.path}/notify` });
  if (typeof address !== "object") throw new Error("no address");
  const shared = TenantProcess.watch(FdHandle.adopt(check("pidfd_open", native.pidfdOpen(process.pid))), native);
  const shares = [shared, shared.share()];
  const berths = shares.map((share, at) => {
    if (share === undefined) throw new Error("it is open");
    const text = `[sockets.game]\nlisten = ["udp://127.0.0.1:${at + 1}"]\n`;
    const berth = new Berth(specOf({ [`etc/b${at}.toml`]: text }), []);
    berth.lease = new Lease({ pid: process.pid, uid: 0, unit: undefined }, share, () => undefined);
    return berth;
  });
  const store = new FdStore(new ManagerSocket(address, native), 8);
  const mirror = new StoreMirror({ store, sys: native, log: () => {}, berths: { all: () => berths } });
  for (const berth of berths) mirror.keep(berth);
  const stored = berths.map(() => {
    const received = new Int32Array(RECEIVED_LENGTH);
    check("recvmsg", native.recvmsg(notify.fd, new Uint8Array(4096), 0, received));
    return adoptReceived(received);
  });
  try {
    const [one, other] = stored.map(([pidfd]) => pidfd?.fd ?? -1);
    expect(native.kcmp(one ?? -1, other ?? -1)).toBeGreaterThan(0);
    // Both are of the tenant.
    for (const [at, pidfd] of [one, other].entries()) expect(berths[at]?.lease?.isOf(pidfd ?? -1)).toBe(true);
  } finally {
    for (const handles of stored) closeAll(handles);
    for (const { lease } of berths) lease?.end();
    mirror.close();
  }
});

it("a lease whose main process has exited, and whose server goes on, is stored with the pidfd that it has", async () => {
  using folder = new TestFolder();
  using notify = boundSocket(`unix-dgram://${folder.path}/notify`);
  const address = managerAddress({ NOTIFY_SOCKET: `${folder.path}/notify` });
  if (typeof address !== "object") throw new Error("no address");
  const child = spawn("sleep", ["1000"], { stdio: "ignore" });
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  const main = TenantProcess.watch(FdHandle.adopt(check("pidfd_open", native.pidfdOpen(pid))), native);
  const berth = new Berth(specOf({ "etc/b.toml": '[sockets.game]\nlisten = ["udp://127.0.0.1:1"]\n' }), []);
  const lease = new Lease({ pid, uid: 0, unit: undefined }, main, () => undefined);
  berth.lease = lease;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  const store = new FdStore(new ManagerSocket(address, native), 8);
  const mirror = new StoreMirror({ store, sys: native, log: () => {}, berths: { all: () => [berth] } });
  mirror.keep(berth);
  const received = new Int32Array(RECEIVED_LENGTH);
  check("recvmsg", native.recvmsg(notify.fd, new Uint8Array(4096), 0, received));
  const handles = adoptReceived(received);
  expect(native.kcmp(handles[0]?.fd ?? -1, lease.pidfd ?? -1)).toBe(0);
  closeAll(handles);
  lease.end();
  mirror.close();
});
