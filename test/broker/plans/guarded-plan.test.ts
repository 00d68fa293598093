/** Plans whose socket may become another one between two rounds. */
import { expect, test } from "vitest";
import { lend, runGuarded } from "../../../src/broker/plans/guarded-plan.ts";
import type { SocketPlan } from "../../../src/broker/plans/socket-call.ts";

test("a plan goes on only as long as its number is that of its socket", async () => {
  const asked: number[] = [];
  const guard = {
    run: async (_: unknown, [fd = -1]: readonly number[]) => {
      asked.push(fd);
      return [{ value: 0, bytes: new Uint8Array(0) }];
    },
  };
  let rounds = 0;
  function* plan(): SocketPlan<void> {
    for (; rounds < 3; rounds++) yield [{ call: "listen", backlog: 1 }];
  }
  const numbers = [7, 8];
  expect(await runGuarded(plan(), () => numbers.shift(), guard, "broker")).toBe("unavailable");
  expect(asked).toEqual([7, 8]);
  expect(rounds).toBe(2);
  expect(await runGuarded(plan(), 9, guard, "broker")).toEqual({ value: undefined });
  expect(asked).toEqual([7, 8, 9]);
});

test("a socket is lent until it is closed or opened again", () => {
  const socket = { open: true, inode: 812n, fd: 7 };
  const lent = lend(socket);
  expect(lent()).toBe(7);
  socket.inode = 813n;
  expect(lent()).toBeUndefined();
  expect(lend({ ...socket, open: false })()).toBeUndefined();
});
