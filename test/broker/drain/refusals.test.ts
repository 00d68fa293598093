/** When a doorman is asked to turn players away, and at which sockets. The test plays the doorman. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { expect, it, vi } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import type { Guest } from "../../../src/broker/demand/doorman/guest.ts";
import { Refusals } from "../../../src/broker/drain/refusal/refusals.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { POLLIN } from "../../../src/net/socket-constants.ts";
import { berth as specOf } from "../../config/fixture.ts";
import { needsGroups } from "../../support/bpf.ts";
import { lastJoins } from "../../support/doorman/last-joins.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

leaksNothing("soon");

interface Scene extends Disposable {
  readonly port: number;
  readonly held: HeldSocket;
  readonly refusals: Refusals;
  readonly berth: Berth;
  readonly lease: Lease;
  /** What its doorman was asked last. */
  readonly guest: () => Guest;
  readonly arrived: ReturnType<typeof vi.fn>;
  readonly left: ReturnType<typeof vi.fn>;
  readonly onBroken: ReturnType<typeof vi.fn>;
}

async function scene(transport = "tcp", type = "minecraft"): Promise<Scene> {
  const port = await freePort();
  const text = `[sockets.game]\nlisten = ["${transport}://127.0.0.1:${port}"]\n[server]\nuser = "games"\n`;
  const spec = specOf({ "etc/a.toml": `${text}query = { type = "${type}" }\n` });
  const [socket] = spec.sockets;
  const [listen] = socket?.listen ?? [];
  if (socket === undefined || listen === undefined) return expect.unreachable();
  const held = HeldSocket.open(listen, socket.options, native);
  const pidfd = FdHandle.adopt(check("pidfd_open", native.pidfdOpen(process.pid)));
  const tenant = { pid: process.pid, uid: 0, unit: undefined };
  const lease = new Lease(tenant, TenantProcess.watch(pidfd, native), () => undefined);
  const guests: Guest[] = [];
  const [arrived, left, onBroken] = [vi.fn(), vi.fn(), vi.fn()];
  const doormen = {
    watch: (_: unknown, guest: Guest) => {
      guests.push(guest);
      return { leave: left, left: () => Promise.resolve(), arrived };
    },
  };
  const refusals = new Refusals({ sys: native, doormen, onBroken });
  const berth = new Berth(spec, [{ name: "game", socket: held }]);
  return {
    ...{ port, held, refusals, berth, lease, arrived, left, onBroken },
    guest: () => guests.at(-1) ?? expect.unreachable(),
    [Symbol.dispose]: () => {
      refusals.close();
      lease.end();
      held.close();
    },
  };
}

/** Whether a new connection comes to this socket. */
async function comesTo(fd: number, port: number): Promise<boolean> {
  const client = connect(port, "127.0.0.1");
  await once(client, "connect");
  const is = (check("poll", native.pollFor(fd, POLLIN, 2000)) & POLLIN) !== 0;
  if (is) native.close(check("accept", native.accept(fd)));
  client.destroy();
  return is;
}

it.each([
  ["tcp", "minecraft"],
  ["udp", "quake3"],
])("says of a closed socket of %s that nobody is turned away there", needs("root"), async (transport, type) => {
  using test = await scene(transport, type);
  test.held.close();
  expect(test.refusals.begin(test.berth, test.lease)).toEqual(new Map([[test.held, "it is closed"]]));
});

it("goes to the doorman, to the server while there is none, and to the next doorman", needs("root"), async () => {
  using test = await scene();
  expect(test.refusals.begin(test.berth, test.lease)).toEqual(new Map());
  const [fd = -1] = test.guest().fds;
  expect(await comesTo(fd, test.port)).toBe(true);
  test.guest().onAlone();
  expect(await comesTo(test.held.fd, test.port)).toBe(true);
  test.guest().onAgain();
  expect(await comesTo(fd, test.port)).toBe(true);
  test.refusals.change(test.lease);
  expect(test.left).toHaveBeenCalledTimes(1);
  expect(await comesTo(fd, test.port)).toBe(true);
  test.refusals.end(test.lease);
  expect(test.left).toHaveBeenCalledTimes(2);
  expect(await comesTo(test.held.fd, test.port)).toBe(true);
});

it("leaves the address to others once the berth's socket is closed", needs("root"), async () => {
  using test = await scene();
  test.refusals.begin(test.berth, test.lease);
  test.held.close();
  expect(test.left).toHaveBeenCalledTimes(1);
  expect(test.onBroken).toHaveBeenCalledExactlyOnceWith(test.berth, test.lease);
  const client = connect(test.port, "127.0.0.1");
  await expect(once(client, "connect")).rejects.toThrow("ECONNREFUSED");
  test.refusals.end(test.lease);
  expect(test.left).toHaveBeenCalledTimes(1);
});

it(
  "gives a doorman of UDP a ring and the socket, and leaves all joins alone once that is closed",
  needsGroups(),
  async () => {
    using test = await scene("udp", "quake3");
    expect(test.refusals.begin(test.berth, test.lease)).toEqual(new Map());
    expect(test.guest()).toMatchObject({ order: { refuse: "quake3" }, fds: [expect.any(Number), test.held.fd] });
    const [ring] = test.guest().fds;
    test.guest().onAlone();
    test.guest().onAgain();
    test.refusals.change(test.lease);
    expect(test.left).toHaveBeenCalledTimes(1);
    expect(test.guest().fds).toEqual([ring, test.held.fd]);
    test.held.close();
    expect(test.left).toHaveBeenCalledTimes(2);
    test.refusals.end(test.lease);
    expect(test.left).toHaveBeenCalledTimes(2);
  },
);

it("asks no doorman where the protocol has no text for players, and says so of each socket", async () => {
  using test = await scene("udp", "bedrock");
  const why = "neither server.query nor server.asleep names a protocol that can tell players why";
  expect(test.refusals.begin(test.berth, test.lease)).toEqual(new Map([[test.held, why]]));
  expect(test.guest).toThrow();
});

it("has a doorman come with the first join by UDP where there are too many doormen", needsGroups(), async () => {
  using test = await scene("udp", "quake3");
  test.refusals.begin(test.berth, test.lease);
  test.guest().onQuiet();
  const client = createSocket("udp4");
  client.send(Buffer.from("\xff\xff\xff\xffgetstatus", "latin1"), test.port, "127.0.0.1");
  await expect.poll(() => native.pollNow(test.held.fd, POLLIN), { timeout: 30_000 }).toBe(POLLIN);
  expect(test.arrived).not.toHaveBeenCalled();
  client.send(lastJoins["Quake III"]?.bytes ?? Buffer.of(), test.port, "127.0.0.1");
  await expect.poll(() => test.arrived.mock.calls.length, { timeout: 30_000 }).toBe(1);
  client.close();
});

it("has a doorman come with the first connection where there are too many doormen", needs("root"), async () => {
  using test = await scene();
  test.refusals.begin(test.berth, test.lease);
  test.guest().onAlone();
  test.guest().onQuiet();
  const client = connect(test.port, "127.0.0.1");
  await once(client, "connect");
  await expect.poll(() => test.arrived.mock.calls.length, { timeout: 30_000 }).toBe(1);
  client.destroy();
});
