/** The old broker's side of a takeover, with two connections of root that are both heard. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Budgets } from "../../../src/broker/access/limits/budgets.ts";
import { LARGE_CALL } from "../../../src/broker/access/limits/limits.ts";
import { Peer } from "../../../src/broker/access/peer.ts";
import { BrokerCounts } from "../../../src/broker/counts/broker-counts.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { TakeoverServer } from "../../../src/broker/restart/takeover-server.ts";
import { PeerGate } from "../../../src/broker/session/peer-gate.ts";
import { serviceInfo } from "../../../src/broker/session/service-info.ts";
import { Session } from "../../../src/broker/session/session.ts";
import { native } from "../../../src/native.ts";
import { VarlinkClient } from "../../../src/varlink/client.ts";
import { Service } from "../../../src/varlink/service.ts";
import { leaksNothing } from "../../support/fds.ts";
import { memfd, socketPair } from "../../support/sockets.ts";

leaksNothing("soon");

const CONFIRM = "io.berthd.Succession.Confirm";
const events: string[] = [];
const sessions: Session[] = [];
let guard: Guard;
let service: Service<Session>;
let takeover: TakeoverServer;
/** What a pause waits for. */
let paused: Promise<void>;
const CONFIRM_TIMEOUT_MS = 500;

beforeEach(() => {
  events.length = 0;
  paused = Promise.resolve();
  guard = new Guard({ sys: native, log: () => undefined });
  service = new Service<Session>(serviceInfo());
  const snapshot = {
    pause: () => paused,
    collect: (store: { add(name: string, fds: readonly number[]): void }) => {
      events.push("collected");
      using file = memfd();
      store.add("lock.broker/file", [file.fd]);
    },
    resume: () => events.push("resumed"),
  };
  const end = (): void => {
    events.push("ended");
  };
  const log = (): void => undefined;
  const options = { snapshot, obstacle: undefined, end, sys: native, log };
  takeover = new TakeoverServer({ ...options, confirmTimeout: 60_000 });
  service.add(takeover.implementation);
});

afterEach(() => {
  takeover.close();
  for (const session of sessions.splice(0)) session.close();
  guard[Symbol.dispose]();
});

/** A broker that never pauses. */
function lateOptions() {
  const snapshot = {
    pause: () => paused,
    collect: () => undefined,
    resume: () => events.push("resumed"),
  };
  return { snapshot, obstacle: undefined, end: () => undefined, sys: native, log: () => undefined };
}

/** A connection of root to the broker. */
function connection(): VarlinkClient {
  const [ours, theirs] = socketPair();
  const peer = Peer.of(theirs.fd, native);
  const gate = new PeerGate({ guard, uid: peer.uid, keptOut: false, sys: native });
  sessions.push(
    new Session(theirs, peer, {
      ...{
        service,
        account: peer.uid,
        privileged: true,
        sys: native,
        log: () => undefined,
        deadline: 0,
        gate,
        counts: new BrokerCounts(),
      },
      budget: new Budgets().of(peer.uid, true),
      callLimits: () => LARGE_CALL,
    }),
  );
  return new VarlinkClient(ours);
}

async function takeAll(client: VarlinkClient): Promise<void> {
  for await (const { fds } of client.stream("io.berthd.Succession.TakeOver")) for (const handle of fds) handle.close();
}

it("Confirm from another connection than the one that was given everything is refused", async () => {
  const successor = connection();
  const other = connection();
  await takeAll(successor);
  await expect(other.call(CONFIRM)).rejects.toMatchObject({
    error: "io.berthd.Succession.Unavailable",
    message: expect.stringContaining("nothing was handed over on this connection"),
  });
  expect([events, takeover.hasGiven]).toEqual([["collected"], true]);
  (await successor.call(CONFIRM))[Symbol.dispose]();
  expect([events, takeover.isUnderWay]).toEqual([["collected", "ended"], false]);
  other.close();
  successor.close();
});

it("goes on when the successor closes while everything is still being paused, and another one can take over", async () => {
  let isPaused = (): void => undefined;
  paused = new Promise((resolve) => {
    isPaused = resolve;
  });
  const first = connection();
  const asked = takeAll(first).catch(() => undefined);
  await expect.poll(() => takeover.isUnderWay).toBe(true);
  first.close();
  await asked;
  await expect.poll(() => events).toEqual(["resumed"]);
  const next = connection();
  const taking = takeAll(next);
  await expect.poll(() => takeover.isUnderWay).toBe(true);
  isPaused();
  await taking;
  (await next.call(CONFIRM))[Symbol.dispose]();
  // Nothing was collected for the first one.
  expect(events).toEqual(["resumed", "collected", "ended"]);
  next.close();
});

it("goes on when everything is not paused in time", async () => {
  paused = new Promise(() => undefined);
  const late = new TakeoverServer({ ...lateOptions(), confirmTimeout: CONFIRM_TIMEOUT_MS });
  service = new Service<Session>(serviceInfo());
  service.add(late.implementation);
  const successor = connection();
  await expect(takeAll(successor)).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
  await expect.poll(() => [events, late.isUnderWay]).toEqual([["resumed"], false]);
  successor.close();
});
