/** What a server that removes the path of its UNIX socket may have the broker do. */
import { unlinkSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { FurtherBinds } from "../../../src/broker/bind/further-binds.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { native } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";

const { EADDRINUSE } = constants.errno;

leaksNothing("soon");
afterEach(() => vi.restoreAllMocks());

it("opens a UNIX socket again whose path is lost, but only so often in a second", () => {
  using folder = new TestFolder();
  const path = join(folder.path, "s");
  const address = { family: "unix", path, abstract: false } as const;
  const options = { backlog: 1, v6only: true, mode: 0o660 };
  using socket = HeldSocket.open({ kind: "stream", address, dualStack: false }, options, native);
  let reopened = 0;
  const keys: string[] = [];
  const further = new FurtherBinds({
    ...{ sys: native, isRestored: false, run: async () => "gone", bind: async () => "gone" },
    note: (key) => keys.push(key),
    onReopened: () => reopened++,
    onCleaned: () => undefined,
  });
  const renew = (): number | undefined => {
    unlinkSync(path);
    return further.renewPath({ name: "rcon", socket });
  };
  const now = vi.spyOn(performance, "now").mockReturnValue(1000);
  for (let n = 0; n < 20; n++) expect(renew()).toBeUndefined();
  expect(renew()).toBe(EADDRINUSE);
  expect(further.renewPath({ name: "rcon", socket })).toBe(EADDRINUSE);
  expect([reopened, keys]).toEqual([20, [`path ${path}`, `path ${path}`]]);
  now.mockReturnValue(2000);
  expect(further.renewPath({ name: "rcon", socket })).toBeUndefined();
  expect(further.renewPath({ name: "rcon", socket })).toBeUndefined();
  expect(reopened).toBe(21);
});

it("leaves the close of a UNIX socket whose path is lost to the guard: others may have sent it what lingers", () => {
  using folder = new TestFolder();
  const path = join(folder.path, "s");
  const address = { family: "unix", path, abstract: false } as const;
  const left: number[] = [];
  const closeForeign = (fd: number): number => {
    left.push(fd);
    return native.closeForeign(fd);
  };
  const options = { backlog: 1, v6only: true, mode: 0o660 };
  using socket = HeldSocket.open({ kind: "datagram", address, dualStack: false }, options, {
    ...native,
    closeForeign,
  });
  socket.share();
  const { fd } = socket;
  unlinkSync(path);
  expect(socket.renewPath()).toContain("was opened again");
  expect(left).toEqual([fd]);
});
