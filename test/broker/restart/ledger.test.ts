/** The record of leases where a process is known by its number: as on a kernel without pidfs. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { systemAccounts } from "../../../src/accounts.ts";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { Ledger } from "../../../src/broker/restart/ledger.ts";
import { Patience } from "../../../src/broker/restart/patience.ts";
import { reclaimAll } from "../../../src/broker/restart/reclaim.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { FdHandle } from "../../../src/fd.ts";
import { type Native, native } from "../../../src/native.ts";
import { POLLIN } from "../../../src/net/socket-constants.ts";
import { TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";

vi.mock(import("node:fs"), async (original) => ({ ...(await original()), statfsSync: () => ({ type: 0 }) as never }));

leaksNothing();

let folder: TestFolder;
let file: string;
beforeEach(() => {
  folder = new TestFolder({ "config/a.toml": '[sockets.game]\nlisten = ["udp://127.0.0.1:9"]' });
  file = join(folder.path, "leases");
});
afterEach(() => folder[Symbol.dispose]());

/** The pidfd says that its process has exited; its number is this process's by now. */
const reused: Native = { ...native, pollNow: () => POLLIN };

/** A berth that this process has. */
function occupied(sys: Native): { berth: Berth; lease: Lease } {
  const { specs } = loadConfig({ directories: [join(folder.path, "config")], accounts: systemAccounts(native) });
  const [berth] = specs.map((spec) => new Berth(spec, []));
  if (berth === undefined) throw new Error("the berth is not configured");
  const { pid } = process;
  const pidfd = FdHandle.adopt(native.pidfdOpen(pid));
  const lease = new Lease({ pid, uid: 0, unit: undefined }, TenantProcess.watch(pidfd, sys), () => undefined);
  berth.lease = lease;
  return { berth, lease };
}

/** Writes the lease into the record, and reads it as the next broker would. */
function recorded(sys: Native) {
  rmSync(file, { force: true });
  const { berth, lease } = occupied(sys);
  const log = (): void => undefined;
  using ledger = { ledger: Ledger.open(file, { log }), [Symbol.dispose]: () => ledger.ledger.close() };
  ledger.ledger.begin([berth]);
  lease.end();
  const next = Ledger.open(file, { log });
  try {
    return next.read();
  } finally {
    next.close();
  }
}

it("a lease is not recorded with the number of a process that came after its tenant", () => {
  expect(recorded(native)).toMatchObject([{ berth: "a", process: expect.stringMatching(/ start \d+$/) }]);
  expect(recorded(reused)).toEqual([]);
});

it("a lease is not given to a process that has its tenant's number, whatever the number says", () => {
  const entries = recorded(native);
  const said: string[] = [];
  const restore = (sys: Native): number => {
    const log = (_: unknown, message: string): void => void said.push(message);
    const passed = reclaimAll(entries, { sys, log, stored: new Set(), patience: new Patience() });
    for (const { handle } of passed) handle.close();
    return passed.length;
  };
  expect([restore(native), said]).toEqual([2, []]);
  expect([restore(reused), said]).toEqual([
    0,
    [`berth a: pid ${process.pid} no longer has it: it exited while no broker was running`],
  ]);
});

it("a record that was written only in part, over an older one, is none", () => {
  const texts = [1, 2].map(() => {
    const [entry] = recorded(native);
    expect(entry?.berth).toBe("a");
    return readFileSync(file);
  });
  const [older = Buffer.alloc(0), newer = Buffer.alloc(0)] = texts;
  const lease = (bytes: Buffer): string => /"lease":"([^"]+)"/.exec(bytes.toString())?.[1] ?? "";
  expect(lease(older)).not.toBe(lease(newer));
  const textOf = (bytes: Buffer): string => bytes.toString().split("\0", 1)[0] ?? "";
  const { length } = textOf(newer);
  let none = 0;
  for (let cut = 1; cut <= length; cut++) {
    writeFileSync(file, Buffer.concat([newer.subarray(0, cut), older.subarray(cut)]), { mode: 0o600 });
    const ledger = Ledger.open(file, { log: () => undefined });
    const found = ledger.read().map((entry) => entry.lease);
    ledger.close();
    // Where the two are alike, a part is the whole of one of them.
    const mixed = textOf(Buffer.concat([newer.subarray(0, cut), older.subarray(cut)]));
    const isWhole = [older, newer].some((one) => textOf(one) === mixed);
    if (!isWhole) none++;
    expect(isWhole ? [] : found).toEqual([]);
  }
  expect(none).toBeGreaterThan(100);
});
