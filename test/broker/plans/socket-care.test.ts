/** What is still to be done to a held socket, where the kernel refuses. */
import { constants } from "node:os";
import { expect, it } from "vitest";
import { reopened, SocketCare } from "../../../src/broker/plans/socket-care.ts";
import { SysError } from "../../../src/errors.ts";
import { berth } from "../../config/fixture.ts";
import { scripted } from "../../support/scripted-native.ts";

it("a socket that can neither follow its interface nor be opened again is lost until it can be", () => {
  const file = '[sockets.game]\nlisten = ["udp://127.0.0.1:9"]\ndevice = "vpn0"\n';
  const { listen: all, options } = berth({ "etc/a.toml": file }).sockets[0] ?? expect.unreachable();
  const listen = all[0] ?? expect.unreachable();
  const socket = { listen, options, address: listen.address, reachable: true };
  const care = new SocketCare(socket, scripted());
  let isTaken = true;
  const reopen = (why: string): string =>
    reopened(why, {
      reopen: () => {
        if (isTaken) throw new SysError("bind", constants.errno.EADDRINUSE, "udp://127.0.0.1:9");
        care.begin();
      },
    });
  const said: string[] = [];
  const tend = (): void => {
    const plan = care.plan((sentences) => said.push(...sentences), reopen);
    // Each call is refused.
    for (let step = plan.next(); step.done !== true; )
      step = plan.next(step.value.map(() => ({ result: -1, value: new Int32Array(0) })));
  };
  care.adopt(false, undefined);
  care.needsInterface(7, true);
  tend();
  expect(said).toEqual([expect.stringMatching(/^cannot follow its interface.* cannot be opened again: .*EADDRINUSE/)]);
  expect(care.lost).toBe(said[0]);
  isTaken = false;
  care.needsRepair();
  tend();
  expect(said[1]).toMatch(/it was opened again$/);
  expect(care.lost).toBeUndefined();
});
