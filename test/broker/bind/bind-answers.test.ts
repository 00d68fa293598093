/** What a bind of a server comes to, when its lease ends meanwhile or the broker runs short of descriptors. */
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Answer, BindAnswers } from "../../../src/broker/bind/bind-answers.ts";
import { BerthCounts } from "../../../src/broker/counts/berth-counts.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { type Native, native } from "../../../src/native.ts";
import { encodeSockaddr, familyNumber, parseListenAddress } from "../../../src/net/address.ts";
import { typeNumber } from "../../../src/net/transport.ts";
import { TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { HeldUpGuard } from "../../support/held-up-guard.ts";
import { fileOf } from "../../support/sockets.ts";

const { EACCES, EMFILE, ETIMEDOUT } = constants.errno;
/** The verdict that lets the kernel carry the call out. */
const CONTINUE = -1;

leaksNothing("soon");

let folder: TestFolder;
let guard: HeldUpGuard;
beforeEach(() => {
  folder = new TestFolder();
  guard = new HeldUpGuard();
});
afterEach(() => {
  guard[Symbol.dispose]();
  folder[Symbol.dispose]();
});

/** A held socket and a server that binds its own to the same address. */
class BindWorld implements Disposable {
  readonly lease = { ended: false };
  readonly held: HeldSocket;
  readonly #own: FdHandle;
  readonly #answers: BindAnswers;

  constructor(address: string, sys: Native = native) {
    const listen = parseListenAddress(address);
    if (typeof listen === "string") throw new Error(listen);
    this.held = HeldSocket.open(listen, { backlog: 1, v6only: true, mode: 0o660 }, native);
    this.#own = FdHandle.adopt(
      check("socket", native.socket(familyNumber(listen.address), typeNumber(listen.kind), 0)),
    );
    const sockets = [{ name: "game", socket: this.held }];
    const berth = {
      name: "arena",
      sockets,
      counts: new BerthCounts(),
      spec: { server: { otherBinds: "refuse", anyNamespace: false, deliver: ["bind"] } },
    } as const;
    const { lease } = this;
    this.#answers = new BindAnswers({
      ...{ berth, lease, sys, guard, log: () => undefined, awaits: () => true },
      ...{ network: 7, isRestored: false, onReopened: () => undefined, onCleaned: () => undefined },
      onGiven: () => undefined,
    });
  }

  get isFirst(): boolean {
    return this.#answers.isFirst(this.held);
  }

  /** The server calls bind(2). */
  bind(): Promise<Answer> {
    const { pid } = process;
    const { fd } = this.#own;
    const sockaddr = encodeSockaddr(this.held.address);
    const report = {
      ...{ pid, thread: pid, fd, error: 0, recalled: false, socket: fd, stray: -1, network: 7, sockaddr },
      ...{ question: -1, state: new Uint8Array(0) },
    };
    return this.#answers.decide(report, { ask: () => undefined, answerIn: () => undefined });
  }

  [Symbol.dispose](): void {
    this.#own.close();
    this.held.close();
  }
}

/** Lets the guard carry out the round that is asked for next. */
async function nextRound(): Promise<void> {
  await expect.poll(() => guard.waiting).toBe(1);
  guard.decide("done");
}

describe.each([
  ["a UNIX socket", () => `unix://${join(folder.path, "s")}`, CONTINUE],
  ["an abstract UNIX socket", () => `unix://@berthd-bind-${process.pid}`, CONTINUE],
  ["a UDP socket", () => "udp://127.0.0.1:0", EACCES],
])("%s", (_, address, afterwards) => {
  it("is delivered while the lease lasts", async () => {
    using world = new BindWorld(address());
    const answer = world.bind();
    await nextRound();
    await nextRound();
    const { verdict, held } = await answer;
    expect([verdict, fileOf(held ?? -1)]).toEqual([0, fileOf(world.held.fd)]);
    held?.close();
  });

  it("is not delivered once the lease has ended", async () => {
    using world = new BindWorld(address());
    world.lease.ended = true;
    const answer = world.bind();
    await nextRound();
    expect(await answer).toEqual({ verdict: afterwards });
  });

  it("is not delivered when the lease ends while the socket is being made ready", async () => {
    using world = new BindWorld(address());
    const answer = world.bind();
    await nextRound();
    await expect.poll(() => guard.waiting).toBe(1);
    world.lease.ended = true;
    guard.decide("done");
    expect(await answer).toEqual({ verdict: EACCES });
  });

  it("fails with EMFILE, never as a success, where the broker has no descriptor free for it", async () => {
    using world = new BindWorld(address(), { ...native, dup: () => -EMFILE });
    const answer = world.bind();
    await nextRound();
    expect(await answer).toEqual({ verdict: EMFILE });
  });
});

it("a socket that could not be made as new is not taken for a new one afterwards", async () => {
  using world = new BindWorld("udp://127.0.0.1:0");
  const first = world.bind();
  await nextRound();
  await nextRound();
  (await first).held?.close();
  expect(world.isFirst).toBe(false);
  const second = world.bind();
  await nextRound();
  await expect.poll(() => guard.waiting).toBe(1);
  guard.decide("stuck");
  expect(await second).toEqual({ verdict: ETIMEDOUT });
  expect(world.isFirst).toBe(false);
});
