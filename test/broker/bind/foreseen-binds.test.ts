/** What it costs to foresee binds, and when. */
import { setImmediate } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { ForeseenBinds } from "../../../src/broker/bind/foreseen-binds.ts";
import { Offers } from "../../../src/broker/bind/offers.ts";
import { BerthCounts } from "../../../src/broker/counts/berth-counts.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";
import { freePort } from "../../support/ports.ts";

leaksNothing("soon");
afterEach(() => vi.restoreAllMocks());

it("many changes at a time cost one look, and none at a process; what was foreseen is forgotten at once", async () => {
  const port = await freePort();
  const options = { backlog: 1, v6only: true, mode: 0o660 };
  const open = (host: string): HeldSocket => {
    const listen = { kind: "datagram", address: { family: "ipv4", host, port }, dualStack: false } as const;
    return HeldSocket.open(listen, options, native);
  };
  using first = open("127.0.0.1");
  using second = open("127.0.0.2");
  using guard = new Guard({ sys: native, log: () => undefined });
  const sockets = [first, second].map((socket, at) => ({ name: `game${at}`, socket }));
  const berth = {
    ...{ name: "arena", sockets },
    counts: new BerthCounts(),
    spec: { server: { otherBinds: "refuse", anyNamespace: false, deliver: ["bind"] } },
  } as const;
  const offers = new Offers(berth);
  offers.given(first, process.pid, first.fd);
  let known = 0;
  let looks = 0;
  const foreseen = new ForeseenBinds({
    ...{ berth, lease: { ended: false }, network: undefined, isRestored: false, sys: native, guard, offers },
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
