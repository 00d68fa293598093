/** Every course of a drain: asked for, changed, cancelled, players who come and go, brokers that are killed. */
import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Peer } from "../../../src/broker/access/peer.ts";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { BerthEvents } from "../../../src/broker/berths/berth/berth-events.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import type { Requester } from "../../../src/broker/berths/request.ts";
import { Connections } from "../../../src/broker/demand/connections.ts";
import { Drains } from "../../../src/broker/drain/drains.ts";
import { decodeLeaseFacts, encodeLeaseFacts } from "../../../src/broker/record/lease-facts.ts";
import { check } from "../../../src/errors.ts";
import { closeAll, FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { socket, berth as specOf } from "../../config/fixture.ts";
import { noDoorman } from "../../support/doorman/no-doorman.ts";
import { leaksNothing } from "../../support/fds.ts";
import { runs } from "../../support/property-runs.ts";
import { socketPair } from "../../support/sockets.ts";

leaksNothing();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "hrtime"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const LOOK_MS = 5000;

/** One server, the brokers that it has one after another, and what each of them does to it. */
class World implements Disposable {
  readonly berth: Berth = new Berth(specOf({ "etc/a.toml": socket }), []);
  readonly lease: Lease;
  /** When it was stopped, by Date.now(). */
  readonly stops: number[] = [];
  /** What the next broker finds. */
  #record: Buffer = Buffer.alloc(0);
  readonly #ends: readonly FdHandle[] = socketPair();
  readonly #who: Requester;
  #broker: { readonly events: BerthEvents; readonly drains: Drains };

  constructor() {
    const pidfd = FdHandle.adopt(check("pidfd_open", native.pidfdOpen(process.pid)));
    this.lease = new Lease(
      { pid: process.pid, uid: 0, unit: undefined },
      TenantProcess.watch(pidfd, native),
      () => undefined,
    );
    this.berth.lease = this.lease;
    this.#who = { privileged: true, peer: Peer.of(this.#ends[0]?.fd ?? -1, native), holds: () => false };
    this.#broker = this.#start();
  }

  async drain(within: number | undefined): Promise<void> {
    await this.#broker.drains.begin("a", this.#who, within);
  }

  cancel(): void {
    this.#broker.drains.cancel("a", this.#who);
  }

  plays(count: number | undefined): void {
    this.lease.said = count === undefined ? undefined : { count, at: Date.now() * 1000 };
    this.berth.players = this.lease.said;
    this.#broker.events.tell("players", this.berth);
  }

  /** The broker is killed: the next one has what was recorded, and nothing else. */
  kill(): void {
    this.#broker.drains.close();
    this.lease.drain = decodeLeaseFacts(this.#record)?.drain;
    // Nobody has told the next broker yet.
    this.lease.said = undefined;
    this.berth.players = undefined;
    this.#broker = this.#start();
    this.#broker.drains.resume([this.berth]);
  }

  [Symbol.dispose](): void {
    this.#broker.drains.close();
    this.lease.end();
    closeAll(this.#ends);
  }

  #start(): { readonly events: BerthEvents; readonly drains: Drains } {
    const { berth, lease } = this;
    const events = new BerthEvents();
    events.record(() => {
      this.#record = encodeLeaseFacts({ ...lease.tenant, ready: true, incoming: false, drain: lease.drain });
    });
    const end = async (): Promise<{ kind: "stopped"; killed: false; again: false }> => {
      this.stops.push(Date.now());
      lease.end();
      berth.lease = undefined;
      events.change("released", berth);
      return { kind: "stopped", killed: false, again: false };
    };
    const drains = new Drains({
      events,
      sys: native,
      guard: { ask: () => expect.unreachable("no join waits") },
      log: () => undefined,
      isPaused: () => false,
      limits: { look: LOOK_MS },
      consoles: { pathOf: () => undefined },
      typist: { type: () => expect.unreachable("no line is typed"), close: () => undefined },
      onDemand: {
        expectEnd: () => undefined,
        connections: new Connections(native),
        inquiries: noDoorman,
        doormen: { watch: () => expect.unreachable("nobody is turned away") },
      },
      stops: { find: () => berth, end, stop: end },
    });
    return { events, drains };
  }
}

type Step =
  | { readonly kind: "drain"; readonly within: number | undefined }
  | { readonly kind: "plays"; readonly count: number | undefined }
  | { readonly kind: "pass"; readonly seconds: number }
  | { readonly kind: "cancel" | "kill" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("drain" as const),
    within: fc.option(fc.integer({ min: 1, max: 900 }), { nil: undefined }),
  }),
  fc.record({
    kind: fc.constant("plays" as const),
    count: fc.option(fc.nat({ max: 2 }), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant("pass" as const), seconds: fc.integer({ min: 0, max: 600 }) }),
  fc.record({ kind: fc.constantFrom("cancel" as const, "kill" as const) }),
);

/** What a server must have come to: no packet can be seen of it, so only its word and the deadline count. */
class Model {
  #deadline: number | undefined;
  #isDraining = false;
  #count: number | undefined;
  stopped: number | undefined;

  take(one: Step, now: number): void {
    if (this.stopped !== undefined) return;
    if (one.kind === "drain") {
      this.#isDraining = true;
      this.#deadline = one.within === undefined ? undefined : now + one.within * 1000;
    } else if (one.kind === "cancel") this.#isDraining = false;
    else if (one.kind === "plays") this.#count = one.count;
    else if (one.kind === "kill") this.#count = undefined;
  }

  /** Time passes until `now`. */
  pass(from: number, now: number): void {
    if (this.stopped !== undefined || !this.#isDraining) return;
    if (this.#count === 0) this.stopped = from;
    else if (this.#deadline !== undefined && now >= this.#deadline) this.stopped = this.#deadline;
  }
}

it("a drained server is stopped once, when nobody plays or at the deadline, whichever broker runs by then", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      using world = new World();
      const model = new Model();
      for (const one of steps) {
        const from = Date.now();
        if (!world.lease.ended) {
          if (one.kind === "drain") await world.drain(one.within);
          else if (one.kind === "cancel") world.cancel();
          else if (one.kind === "plays") world.plays(one.count);
          else if (one.kind === "kill") world.kill();
        }
        model.take(one, from);
        await vi.advanceTimersByTimeAsync(one.kind === "pass" ? one.seconds * 1000 : 1);
        model.pass(from, Date.now());
        expect(world.stops.length).toBe(model.stopped === undefined ? 0 : 1);
        const [stopped] = world.stops;
        if (stopped === undefined || model.stopped === undefined) continue;
        // Timers of Node have whole milliseconds, and the next look is after this one.
        expect(Math.abs(stopped - model.stopped)).toBeLessThanOrEqual(3);
      }
    }),
    { numRuns: runs(300) },
  );
});
