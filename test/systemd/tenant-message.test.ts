import fc from "fast-check";
import { expect, it } from "vitest";
import { readTenantMessage, type TenantMessage } from "../../src/systemd/tenant-message.ts";

const nothing: TenantMessage = { ready: false, stopping: false, store: false, storeRemove: false, barrier: false };

it.each<[string, Partial<TenantMessage>]>([
  ["READY=1", { ready: true }],
  ["READY=1\n", { ready: true }],
  ["READY=1\0", { ready: true }],
  ["READY=yes\nready=1\n READY=1", {}],
  ["STOPPING=1\nSTATUS=bye", { stopping: true, status: "bye" }],
  ["STATUS=", { status: "" }],
  ["STATUS=a=b \ufffd", { status: "a=b \ufffd" }],
  [`STATUS=${"x".repeat(3000)}`, { status: "x".repeat(1024) }],
  ["STATUS=first\nSTATUS=second", { status: "first" }],
  ["WATCHDOG=1", { watchdog: "alive" }],
  ["WATCHDOG=trigger", { watchdog: "trigger" }],
  ["WATCHDOG=2", {}],
  ["WATCHDOG_USEC=20000000", { watchdogTime: 20_000_000 }],
  ["WATCHDOG_USEC=-1\nWATCHDOG_USEC=1e3", {}],
  ["X_BERTHD_PLAYERS=7", { players: { count: 7 } }],
  ["X_BERTHD_PLAYERS=0/16", { players: { count: 0, max: 16 } }],
  ["X_BERTHD_PLAYERS=", { players: "unknown" }],
  ["X_BERTHD_PLAYERS=1000001", {}],
  ["X_BERTHD_PLAYERS=-1", {}],
  ["X_BERTHD_PLAYERS=7/", {}],
  ["X_BERTHD_PLAYERS=many\nX_BERTHD_PLAYERS=7", {}],
  ["FDSTORE=1\nFDNAME=state", { store: true, name: "state" }],
  ["FDSTOREREMOVE=1\nFDNAME=state", { storeRemove: true, name: "state" }],
  ["MAINPID=1\nEXTEND_TIMEOUT_USEC=1\nBARRIER=1\nX_MINE=1\n=\n\n", { barrier: true }],
])("%j", (text, expected) => {
  expect(readTenantMessage(Buffer.from(text))).toEqual({ ...nothing, ...expected });
});

it("whatever comes is a message, and a status is no longer than a line", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => {
      expect(readTenantMessage(Buffer.concat([Buffer.from("STATUS="), bytes])).status?.length).toBeLessThanOrEqual(
        1024,
      );
    }),
  );
});
