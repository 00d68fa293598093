/** What a server has set on its own socket, where a new one is remembered and sysctls change. */
import { expect, test } from "vitest";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { runGuarded } from "../../../src/broker/plans/guarded-plan.ts";
import { NewSockets } from "../../../src/broker/plans/new-sockets.ts";
import type { SocketPlan } from "../../../src/broker/plans/socket-call.ts";
import { type Native, native } from "../../../src/native.ts";
import { AF_INET } from "../../../src/net/address.ts";
import { SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { SOCK_DGRAM } from "../../../src/net/transport.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing("soon");

const SO_PRIORITY = 12;

/** Whether the batch needed a new socket to compare with, and the names of the options that were set. */
type Look = readonly [asked: number, names: readonly string[]];

function world(guard: Guard) {
  let priority = 0;
  let made = 0;
  // A new socket has what the sysctl says, which there is none of for this option.
  const sys: Native = {
    ...native,
    socket: (...args) => {
      made++;
      const fd = native.socket(...args);
      native.setsockopt(fd, SOL_SOCKET, SO_PRIORITY, priority);
      return fd;
    },
  };
  const kind = NewSockets.of(AF_INET, SOCK_DGRAM, sys);
  function* plan(): SocketPlan<string[]> {
    const [seen] = yield [{ call: "batch", batch: kind.batch }];
    return kind.settingsIn(seen).map(({ option }) => option.name);
  }
  const look = async (wanted: number): Promise<Look> => {
    const fd = native.socket(AF_INET, SOCK_DGRAM, 0);
    try {
      native.setsockopt(fd, SOL_SOCKET, SO_PRIORITY, wanted);
      const before = made;
      const outcome = await runGuarded(plan(), fd, guard, 1);
      if (typeof outcome === "string") throw new Error(outcome);
      return [made - before, outcome.value];
    } finally {
      native.close(fd);
    }
  };
  return {
    look,
    sockets: () => made,
    change: (value: number) => {
      priority = value;
    },
  };
}

test("a socket that is as new needs no other to compare with, the second time", async () => {
  using guard = new Guard({ sys: native, log: () => undefined });
  const { look } = world(guard);
  expect(await look(0)).toEqual([1, []]);
  expect(await look(0)).toEqual([0, []]);
  expect(await look(3)).toEqual([1, ["SO_PRIORITY"]]);
  expect(await look(0)).toEqual([0, []]);
});

test("a sysctl that changes what new sockets have is noticed after the next bind", async () => {
  using guard = new Guard({ sys: native, log: () => undefined });
  const { look, sockets, change } = world(guard);
  expect([await look(0), await look(0)]).toEqual([
    [1, []],
    [0, []],
  ]);
  change(5);
  expect(await look(5)).toEqual([1, []]);
  change(0);
  const before = sockets();
  expect(await look(5)).toEqual([0, []]); // not yet
  await expect.poll(sockets).toBeGreaterThan(before);
  expect(await look(5)).toEqual([1, ["SO_PRIORITY"]]);
  expect(await look(0)).toEqual([1, []]);
});
