/** Messages of a process that has the number of a tenant, or of its child, that has exited. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemAccounts } from "../../../src/accounts.ts";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { NotifySocket } from "../../../src/broker/notify/notify-socket.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { type Native, native } from "../../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../../src/net/address.ts";
import { POLLIN } from "../../../src/net/socket-constants.ts";
import { SOCK_DGRAM } from "../../../src/net/transport.ts";
import { TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { lastPoll, scripted } from "../../support/scripted-native.ts";

leaksNothing("soon");

let folder: TestFolder;
let other: ChildProcess;
beforeEach(async () => {
  folder = new TestFolder({ "config/a.toml": '[sockets.game]\nlisten = ["udp://127.0.0.1:9"]' });
  other = spawn("sleep", ["1000"], { stdio: "ignore" });
  await once(other, "spawn");
});
afterEach(async () => {
  const exited = once(other, "exit");
  other.kill("SIGKILL");
  await exited;
  folder[Symbol.dispose]();
});

/** How many messages of this process are taken for the tenant's, which has this number, and this process's pidfd. */
function heard(tenant: { readonly pid: number; readonly process: number }, changes: Partial<Native> = {}): number {
  const { specs } = loadConfig({ directories: [join(folder.path, "config")], accounts: systemAccounts(native) });
  const [berth] = specs.map((spec) => new Berth(spec, []));
  if (berth === undefined) throw new Error("the berth is not configured");
  const sys = scripted(changes);
  const pidfd = FdHandle.adopt(native.pidfdOpen(tenant.process));
  const lease = new Lease(
    { pid: tenant.pid, uid: 0, unit: undefined },
    TenantProcess.watch(pidfd, sys),
    () => undefined,
  );
  const guard = new Guard({ sys, log: () => undefined });
  const path = join(folder.path, "notify");
  let messages = 0;
  const notify = NotifySocket.open(path, {
    ...{ sys, guard, log: () => undefined, offered: [] },
    tenantAmong: (pids) => (pids.includes(tenant.pid) ? { berth, lease } : undefined),
    onMessage: () => messages++,
  });
  try {
    using sender = FdHandle.adopt(check("socket", native.socket(AF_UNIX, SOCK_DGRAM, 0)));
    check("connect", native.connect(sender.fd, encodeSockaddr({ family: "unix", path, abstract: false })));
    check("sendmsg", native.sendmsg(sender.fd, Buffer.from("READY=1"), 0, new Int32Array(0), 0));
    lastPoll().turn();
    return messages;
  } finally {
    notify.close();
    lease.end();
    guard[Symbol.dispose]();
  }
}

it("the tenant's number with another process's pidfd is not the tenant", () => {
  const { pid } = process;
  expect(heard({ pid, process: pid })).toBe(1);
  expect(heard({ pid, process: other.pid ?? -1 })).toBe(0);
});

it("a child's number is that of a child of the tenant only if the sender still lives", () => {
  const parent = process.ppid;
  expect(heard({ pid: parent, process: parent })).toBe(1);
  expect(
    heard(
      { pid: parent, process: parent },
      { pollNow: (fd, events) => (events === POLLIN ? POLLIN : native.pollNow(fd, events)) },
    ),
  ).toBe(0);
});
