/** What it costs to foresee binds, and when. */
import { setImmediate } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { ForeseenBinds, type ForeseenBindsOptions } from "../../../src/broker/bind/foreseen-binds.ts";
import { Offers } from "../../../src/broker/bind/offers.ts";
import { BerthCounts } from "../../../src/broker/counts/berth-counts.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";
import { freePort } from "../../support/ports.ts";

leaksNothing("soon");
afterEach(() => vi.restoreAllMocks());

interface Scene extends Disposable {
  readonly first: HeldSocket;
  readonly second: HeldSocket;
  /** All that a ForeseenBinds needs but its thread, and which sockets the server has not had. */
  readonly all: Omit<ForeseenBindsOptions, "isFirst" | "thread">;
}

/** A berth with two sockets, of which its server has the first. */
async function setUp(): Promise<Scene> {
  const port = await freePort();
  const options = { backlog: 1, v6only: true, mode: 0o660 };
  const open = (host: string): HeldSocket => {
    const listen = { kind: "datagram", address: { family: "ipv4", host, port }, dualStack: false } as const;
    return HeldSocket.open(listen, options, native);
  };
  const first = open("127.0.0.1");
  const second = open("127.0.0.2");
  const guard = new Guard({ sys: native, log: () => undefined });
  const sockets = [first, second].map((socket, at) => ({ name: `game${at}`, socket }));
  const berth = {
    ...{ name: "arena", sockets },
    counts: new BerthCounts(),
    spec: { server: { otherBinds: "refuse", anyNamespace: false, deliver: ["bind"] } },
  } as const;
  const offers = new Offers(berth);
  offers.given(first, process.pid, first.fd);
  return {
    ...{ first, second },
    all: { berth, lease: { ended: false }, network: undefined, isRestored: false, sys: native, guard, offers },
    [Symbol.dispose]: () => {
      for (const owner of [first, second, guard]) owner[Symbol.dispose]();
    },
  };
}

it("many changes at a time cost one look, and none at a process; what was foreseen is forgotten at once", async () => {
  using scene = await setUp();
  const { all, first } = scene;
  let known = 0;
  let looks = 0;
  const foreseen = new ForeseenBinds({
    ...all,
    isFirst: (socket) => socket !== first && ++looks > 0,
    thread: {
      foresee: () => void known++,
      forget: () => {
        known = 0;
      },
    },
  });
  const reads = vi.spyOn(native, "readSockets");
  await foreseen.begin();
  await expect.poll(() => known).toBe(1);
  const once = looks;
  for (let n = 0; n < 50; n++) foreseen.renew();
  expect(known).toBe(0);
  await setImmediate();
  expect([known, looks]).toEqual([1, 2 * once]);
  expect(reads).not.toHaveBeenCalled();
  foreseen.renew();
  foreseen.close();
  await setImmediate();
  expect(known).toBe(0);
});

it("what is forgotten leaves no further bind with the thread: its socket may be closed next", async () => {
  using scene = await setUp();
  const { all, second } = scene;
  const { address } = second;
  if (address.family === "unix") throw new Error("not an Internet socket");
  const now = { kind: "datagram", address, v6only: false, reusesPort: false, reusesAddress: false } as const;
  const known: number[] = [];
  // As Interception does when it hears of a bind that was answered just before.
  const note = (): void => foreseen.again({ name: "game1", socket: second, asked: address, now }, 1000, 1);
  let onForget = (): void => undefined;
  const foreseen = new ForeseenBinds({
    ...all,
    isFirst: () => false,
    thread: {
      foresee: (id) => void known.push(id),
      forget: () => {
        known.length = 0;
        onForget();
      },
    },
  });
  await foreseen.begin();
  note();
  expect(known).toHaveLength(1);
  onForget = note;
  foreseen.renew();
  expect(known).toEqual([]);
  onForget = () => undefined;
  note();
  expect(known).toHaveLength(1);
  foreseen.close();
});
