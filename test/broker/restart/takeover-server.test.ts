/** The old broker's side of a takeover, with two connections of root that are both heard. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Budgets } from "../../../src/broker/access/budgets.ts";
import { LARGE_CALL } from "../../../src/broker/access/limits.ts";
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

beforeEach(() => {
  events.length = 0;
  guard = new Guard({ sys: native, log: () => undefined });
  service = new Service<Session>(serviceInfo());
  const snapshot = {
    pause: () => Promise.resolve(),
    collect: (store: { add(name: string, fds: readonly number[]): void }) => {
      using file = memfd();
      store.add("lock.broker/file", [file.fd]);
    },
    resume: () => events.push("resumed"),
  };
  const end = (): void => {
    events.push("ended");
  };
  const log = (): void => undefined;
  takeover = new TakeoverServer({ snapshot, obstacle: undefined, end, sys: native, log, confirmTimeout: 60_000 });
  service.add(takeover.implementation);
});

afterEach(() => {
  takeover.close();
  for (const session of sessions.splice(0)) session.close();
  guard[Symbol.dispose]();
});

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
  expect([events, takeover.hasGiven]).toEqual([[], true]);
  (await successor.call(CONFIRM))[Symbol.dispose]();
  expect([events, takeover.isUnderWay]).toEqual([["ended"], false]);
  other.close();
  successor.close();
});
