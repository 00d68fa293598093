/** Who is asked, when and how often: with a doorman that answers as the test says. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import type { Question } from "../../../src/broker/demand/doorman/asks.ts";
import { Inquiries } from "../../../src/broker/demand/inquiries.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { native } from "../../../src/native.ts";
import { berth as specOf } from "../../config/fixture.ts";
import { leaksNothing } from "../../support/fds.ts";
import { scripted } from "../../support/scripted-native.ts";
import { memfd } from "../../support/sockets.ts";

/** An interface that has an address, wherever this runs. */
vi.mock("node:os", async (original) => ({
  ...(await original<typeof import("node:os")>()),
  networkInterfaces: () => ({ vpn1: [{ address: "127.0.0.1" }] }),
}));

leaksNothing();
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const pass = (seconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(seconds * 1000);

class Scene implements Disposable {
  readonly berth: Berth;
  readonly lease: Lease;
  readonly inquiries: Inquiries;
  readonly questions: Question[] = [];
  readonly reported: (number | undefined)[] = [];
  readonly heard: (number | undefined)[] = [];

  constructor(more = 'asleep = "quake3"\n', sockets = '[sockets.game]\nlisten = ["udp://127.0.0.1:9"]\n') {
    const server = `[server]\ncommand = ["x"]\nstart = "on-demand"\n${more}`;
    this.berth = new Berth(specOf({ "etc/a.toml": `${sockets}${server}` }), []);
    this.lease = new Lease(
      { pid: 1, uid: 0, unit: undefined },
      TenantProcess.watch(memfd("pidfd"), scripted({})),
      () => undefined,
    );
    this.berth.lease = this.lease;
    this.inquiries = new Inquiries({
      sys: native,
      doormen: { ask: (_, question) => this.questions.push(question) },
      reports: { answered: (_, players) => this.reported.push(players) },
    });
  }

  ask(): void {
    this.inquiries.ask(this.berth, this.lease, (players) => this.heard.push(players));
  }

  /** The doorman has sent the last question, and answers a second later. */
  async answer(players: number | undefined): Promise<void> {
    const question = this.questions.at(-1);
    question?.onSent();
    await pass(1);
    question?.onAnswer(players);
  }

  /** Opens its sockets, of no interface: there may be none of that name. */
  open(): void {
    this.berth.sockets = this.berth.spec.sockets.flatMap(({ name, listen, options: { device: _, ...options } }) =>
      listen.map((one) => ({ name, socket: HeldSocket.open(one, options, native) })),
    );
  }

  [Symbol.dispose](): void {
    this.inquiries.close();
    this.lease.end();
    for (const { socket } of this.berth.sockets) socket.close();
  }
}

it("asks once for all who want to know at a time, and tells them and the reports", async () => {
  using scene = new Scene();
  scene.ask();
  scene.ask();
  await scene.answer(3);
  expect([scene.questions.length, scene.heard, scene.reported]).toEqual([1, [3, 3], [3]]);
});

it("gives an answer of the last two seconds again, and then asks anew", async () => {
  using scene = new Scene();
  scene.ask();
  await scene.answer(3);
  await pass(1.9);
  scene.ask();
  await pass(0);
  expect([scene.questions.length, scene.heard]).toEqual([1, [3, 3]]);
  await pass(0.2);
  scene.ask();
  await scene.answer(0);
  expect([scene.questions.length, scene.heard]).toEqual([2, [3, 3, 0]]);
});

it("asks a server that does not answer less and less often, and one that answers again each time", async () => {
  using scene = new Scene();
  const asked: number[] = [];
  for (let turn = 0; turn < 200; turn++) {
    const before = scene.questions.length;
    scene.ask();
    if (scene.questions.length > before) {
      asked.push(turn);
      await scene.answer(turn < 100 ? undefined : 1);
    }
    await pass(3);
  }
  expect(asked.slice(0, 7)).toEqual([0, 2, 6, 14, 30, 62, 94]);
  expect(asked[7]).toBe(126);
  expect(asked.length).toBe(7 + 200 - 126);
  expect(scene.heard.length).toBe(200);
});

it("cannot ask a server without a doorman", async () => {
  using scene = new Scene("");
  expect(scene.inquiries.canAsk(scene.berth)).toBe(false);
  scene.ask();
  await pass(0);
  expect([scene.questions, scene.heard]).toEqual([[], [undefined]]);
});

/** UDP on any loopback port; `device` is only in the configuration. */
const bound = (name: string, device: string): string =>
  `[sockets.${name}]\nlisten = ["udp://127.0.0.1:0"]\ndevice = "${device}"\n`;

it("does not ask at a socket of another interface: a packet of the broker's would go to another server", async () => {
  using scene = new Scene('asleep = "quake3"\n', bound("game", "vpn0") + bound("query", "vpn0"));
  expect(scene.inquiries.canAsk(scene.berth)).toBe(false);
  scene.ask();
  await pass(0);
  expect([scene.questions, scene.heard]).toEqual([[], [undefined]]);
});

it("asks at the other sockets of a berth of which one has an interface, and at those of the loopback", () => {
  using scene = new Scene('asleep = "quake3"\n', bound("game", "vpn0") + bound("query", "lo"));
  scene.open();
  scene.ask();
  const { fds = [], order } = scene.questions[0]?.open() ?? {};
  for (const fd of fds) fd.close();
  expect(order).toMatchObject({ kinds: ["datagram"] });
  expect(fds).toHaveLength(1);
});

it("connects to nobody once the lease is another one", async () => {
  using scene = new Scene();
  scene.ask();
  scene.berth.lease = undefined;
  expect(scene.questions[0]?.open().fds).toEqual([]);
  await scene.answer(undefined);
  expect([scene.heard, scene.reported]).toEqual([[undefined], []]);
});

it("tells nobody once it is closed", async () => {
  using scene = new Scene();
  scene.ask();
  scene.inquiries.close();
  await scene.answer(3);
  scene.ask();
  await pass(5);
  expect([scene.heard, scene.reported]).toEqual([[], []]);
});

describe("a datagram of the broker's own", () => {
  it("is one that came while the server was asked, also if the server reads it later", async () => {
    using scene = new Scene();
    const ours = (time: number): boolean => scene.inquiries.mayBeOurs(scene.lease, time);
    const begin = Date.now();
    expect(ours(begin)).toBe(false);
    scene.ask();
    expect(ours(begin)).toBe(false); // it is not sent yet
    await pass(5);
    const sent = Date.now();
    await scene.answer(undefined);
    expect([sent - 1, sent, sent + 1000, sent + 1002].map(ours)).toEqual([false, true, true, false]);
    await pass(600);
    expect(ours(sent + 500)).toBe(true);
    expect(ours(Date.now())).toBe(false);
  });

  it("is none that came before the question could be sent at all", async () => {
    using scene = new Scene();
    const begin = Date.now();
    scene.ask();
    await pass(10);
    scene.questions[0]?.onAnswer(undefined);
    expect(scene.inquiries.mayBeOurs(scene.lease, begin + 5000)).toBe(false);
  });
});

it("asks at the own address of a socket's interface: there a packet of the broker's comes to it", () => {
  using scene = new Scene('asleep = "quake3"\n', bound("game", "vpn1"));
  expect(scene.inquiries.canAsk(scene.berth)).toBe(true);
  scene.open();
  scene.ask();
  const { fds = [], order } = scene.questions[0]?.open() ?? {};
  for (const fd of fds) fd.close();
  expect(order).toMatchObject({ kinds: ["datagram"] });
});

it("does not ask at all addresses of an interface: the question would go to loopback", () => {
  using scene = new Scene('asleep = "quake3"\n', bound("game", "vpn1").replace("127.0.0.1", "0.0.0.0"));
  expect(scene.inquiries.canAsk(scene.berth)).toBe(false);
});
