/** When a server counts as idle, and how it is stopped: the clock and the kernel's answers are the test's. */
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { IdleWatch } from "../../../src/broker/demand/idle-watch.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import type { BerthSpec } from "../../../src/config/keys/spec.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { native } from "../../../src/native.ts";
import type { Address } from "../../../src/net/address.ts";
import { SO_TIMESTAMPNS, SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { scripted } from "../../support/scripted-native.ts";
import { memfd } from "../../support/sockets.ts";

const { SIGINT, SIGTERM, SIGKILL } = constants.signals;
const { EINVAL, EMFILE, ENOENT } = constants.errno;

leaksNothing("soon"); // a stop looks at all processes
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function spec(listen: string, stopAfter: string | undefined, more: string): BerthSpec {
  const stop = stopAfter === undefined ? "" : `stop-after = "${stopAfter}"\n${more}`;
  const server = `[server]\ncommand = ["x"]\nstart = "on-demand"\n${stop}`;
  using folder = new TestFolder({ "arena.toml": `[sockets.game]\nlisten = ["${listen}"]\n${server}` });
  const accounts = { passwd: () => undefined, group: () => undefined };
  const [found] = loadConfig({ directories: [join(folder.path)], accounts }).specs;
  if (found === undefined) throw new Error("the configuration of this test is wrong");
  return found;
}

/** A berth with a tenant, watched; what is done to the tenant stands in `done`, with seconds. */
class Scene implements Disposable {
  readonly done: string[] = [];
  readonly berth: Berth;
  readonly watch: IdleWatch;
  readonly #start = Date.now();
  readonly socket: HeldSocket;
  /** When the last datagram came that was read. */
  stamp: number | undefined;
  connected: Address[] = [];
  /** Who waits for the kernel to tell who is connected; undefined if it tells at once. */
  held: (() => void)[] | undefined;
  unit: string | undefined;
  /** systemd does not stop it. */
  isRefused = false;
  /** The broker has no descriptor left. */
  isShort = false;
  /** What the server answers its doorman; "unasked" if it has none. */
  answer: number | undefined | "unasked" = "unasked";
  /** Seconds of stamps of the doorman's own questions. */
  readonly ours: number[] = [];

  constructor(listen: string, stopAfter: string | undefined, unit?: string, more = "") {
    this.unit = unit;
    const configuration = spec(listen, stopAfter, more);
    const [game] = configuration.sockets;
    const [address] = game?.listen ?? [];
    if (game === undefined || address === undefined) throw new Error("no socket");
    this.socket = HeldSocket.open(address, game.options, native);
    this.berth = new Berth(configuration, [{ name: "game", socket: this.socket }]);
    this.occupy();
    const sys = scripted({
      pidfdSignal: (_, signal) => this.#note(`signal ${signal}`),
      dup: (fd) => (this.isShort ? -EMFILE : native.dup(fd)),
      pidfdSignalGroup: () => -EINVAL, // as before Linux 6.9
      lastReceived: (_, stamp) => {
        if (this.stamp === undefined) return -ENOENT;
        stamp[0] = this.stamp;
        return 0;
      },
    });
    this.watch = new IdleWatch(this.berth, {
      sys,
      log: () => undefined,
      runner: {
        stop: (berth, name, refused) => {
          if (name === undefined) return false;
          this.#note(`${name} of ${berth} stopped`);
          if (this.isRefused) refused("no");
          return true;
        },
      },
      connections: {
        refresh: (then) => (this.held === undefined ? then() : this.held.push(then)),
        to: ({ address }) => this.connected.includes(address),
      },
      inquiries: {
        canAsk: () => this.answer !== "unasked",
        ask: (_, lease, answered) => {
          expect(lease).toBe(this.berth.lease);
          answered(this.answer === "unasked" ? undefined : this.answer);
        },
        mayBeOurs: (_, time) => this.ours.includes(time / 1000),
      },
      stopTimeout: 10_000,
      onStop: () => this.#note("stopping"),
    });
  }

  occupy(): void {
    const tenant = { pid: 1, uid: 0, unit: this.unit };
    this.berth.lease = new Lease(tenant, TenantProcess.watch(memfd("pidfd"), scripted({})), () => undefined);
  }

  /** Its tenant is gone. */
  vacate(): void {
    this.berth.lease?.end();
    this.berth.lease = undefined;
    this.watch.update();
  }

  [Symbol.dispose](): void {
    this.watch.close();
    this.berth.lease?.end();
    this.berth.incoming?.end();
    this.socket.close();
  }

  #note(what: string): number {
    this.done.push(`${(Date.now() - this.#start) / 1000}: ${what}`);
    return 0;
  }
}

const seconds = (count: number): unknown => vi.advanceTimersByTime(count * 1000);

describe("a server with a UDP socket", () => {
  it("gets its stop-signal, and its stop-timeout for a long save", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s", undefined, 'stop-signal = "INT"\nstop-timeout = "15s"\n');
    seconds(96);
    expect(scene.done).toEqual(["80: stopping", `80: signal ${SIGINT}`, `95: signal ${SIGKILL}`]);
  });

  it("is asked to end after that time without a datagram, and killed when it does not", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    seconds(79);
    expect(scene.done).toEqual([]);
    seconds(21);
    expect(scene.done).toEqual(["80: stopping", `80: signal ${SIGTERM}`, `90: signal ${SIGKILL}`]);
  });

  it("is stopped a little later where the broker had no descriptor left for that", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    scene.isShort = true;
    seconds(83.5);
    expect(scene.done).toEqual(["80: stopping"]);
    scene.isShort = false;
    seconds(10);
    expect(scene.done).toEqual(["80: stopping", `84: signal ${SIGTERM}`]);
  });

  it("is left alone when it has ended in time", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    seconds(85);
    scene.vacate();
    seconds(1000);
    expect(scene.done).toEqual(["80: stopping", `80: signal ${SIGTERM}`]);
  });

  it("stays while it reads one now and then, however long", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    for (let minute = 1; minute <= 60; minute++) {
      scene.stamp = minute;
      seconds(60);
    }
    expect(scene.done).toEqual([]);
    seconds(3600);
    // The last one was seen at the first look after it: at most an eighth of the time late.
    expect(scene.done[0]).toBe("3630: stopping");
  });

  it("that says that nobody plays is stopped, although a monitor asks it every ten seconds", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    const say = (count: number | undefined): void => {
      const { lease } = scene.berth;
      if (lease !== undefined) lease.said = count === undefined ? undefined : { count, at: 0 };
    };
    const ask = (times: number): void => {
      for (let time = 0; time < times; time++) {
        scene.stamp = (scene.stamp ?? 0) + 1;
        seconds(10);
      }
    };
    say(3);
    ask(30);
    say(undefined);
    ask(30);
    expect(scene.done).toEqual([]);
    say(0);
    ask(4);
    say(1); // somebody joins, and leaves again
    ask(1);
    say(0);
    ask(7);
    expect(scene.done).toEqual([]);
    ask(1);
    expect(scene.done[0]).toBe("730: stopping");
  });

  it("that answers its doorman that nobody plays is stopped, although a monitor asks it every ten seconds", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    const ask = (times: number): void => {
      for (let time = 0; time < times; time++) {
        scene.stamp = (scene.stamp ?? 0) + 1;
        seconds(10);
      }
    };
    scene.answer = 1;
    ask(30);
    scene.answer = undefined;
    ask(30);
    expect(scene.done).toEqual([]);
    scene.answer = 0;
    ask(7);
    expect(scene.done).toEqual([]);
    ask(1);
    expect(scene.done[0]).toBe("680: stopping");
  });

  it("that answers that somebody plays stays, although no packet is seen", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    scene.answer = 1;
    seconds(3600);
    expect(scene.done).toEqual([]);
  });

  it("that does not answer is counted by traffic, of which its doorman's questions are none", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    scene.answer = undefined;
    for (let time = 1; time <= 8; time++) {
      scene.stamp = time;
      seconds(10);
    }
    expect(scene.done).toEqual([]);
    for (let time = 100; time <= 108; time++) {
      scene.stamp = time;
      scene.ours.push(time);
      seconds(10);
    }
    expect(scene.done[0]).toBe("160: stopping");
  });

  it("says itself who plays, and then its doorman's answer does not count", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    if (scene.berth.lease !== undefined) scene.berth.lease.said = { count: 0, at: 0 };
    scene.answer = 5;
    seconds(100);
    expect(scene.done[0]).toBe("80: stopping");
  });

  it("is asked at least every 50 s, so that its doorman stays", () => {
    using scene = new Scene("udp://127.0.0.1:0", "8h");
    scene.answer = 1;
    scene.vacate();
    scene.occupy();
    scene.watch.update();
    seconds(51);
    scene.answer = 0;
    seconds(8 * 3600 - 2);
    expect(scene.done).toEqual([]);
    seconds(2);
    expect(scene.done[0]).toBe("28850: stopping");
  });

  it("that says that somebody plays is stopped without traffic all the same", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    if (scene.berth.lease !== undefined) scene.berth.lease.said = { count: 3, at: 0 };
    seconds(100);
    expect(scene.done[0]).toBe("80: stopping");
  });

  it("is never stopped where the kernel gives the times to the server instead", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    expect(native.setsockopt(scene.socket.fd, SOL_SOCKET, SO_TIMESTAMPNS, 1)).toBe(0);
    seconds(3600);
    expect(scene.done).toEqual([]);
    native.setsockopt(scene.socket.fd, SOL_SOCKET, SO_TIMESTAMPNS, 0);
    seconds(100);
    expect(scene.done[0]).toBe("3680: stopping");
  });

  it("is stopped as the unit that it is", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s", "berth@arena.service");
    seconds(3600);
    expect(scene.done).toEqual(["80: stopping", "80: berth@arena.service of arena stopped"]);
  });

  it("is asked itself where systemd does not stop its unit", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s", "berth@arena.service");
    scene.isRefused = true;
    seconds(3600);
    expect(scene.done.slice(2)).toEqual([`80: signal ${SIGTERM}`, `90: signal ${SIGKILL}`]);
  });

  it("is not stopped during a handover", () => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    const { lease } = scene.berth;
    scene.occupy();
    scene.berth.incoming = scene.berth.lease;
    scene.berth.lease = lease;
    seconds(3600);
    expect(scene.done).toEqual([]);
  });
});

it("a server with a listener stays while somebody is connected", () => {
  using scene = new Scene("tcp://127.0.0.1:0", "80s");
  scene.connected.push(scene.socket.address);
  seconds(3600);
  expect(scene.done).toEqual([]);
  scene.connected.pop();
  seconds(100);
  expect(scene.done[0]).toBe("3680: stopping");
});

it("a server that ends while the kernel tells who is connected is not stopped later", () => {
  using scene = new Scene("tcp://127.0.0.1:0", "80s");
  scene.held = [];
  seconds(10);
  expect(scene.held).toHaveLength(1);
  scene.vacate();
  for (const then of scene.held.splice(0)) then();
  seconds(3600);
  expect(scene.done).toEqual([]);
  expect(scene.held).toEqual([]);
});

describe("the configuration changes while it runs", () => {
  it.each<[string | undefined, string[]]>([
    ["160s", ["160: stopping"]],
    // It has had none for so long already.
    ["8s", ["41: stopping"]],
    [undefined, []],
  ])("to %s", (changed, expected) => {
    using scene = new Scene("udp://127.0.0.1:0", "80s");
    seconds(40);
    scene.berth.spec = spec("udp://127.0.0.1:0", changed, "");
    scene.watch.update();
    seconds(3600);
    expect(scene.done.slice(0, 1)).toEqual(expected);
  });

  it("from never", () => {
    using scene = new Scene("udp://127.0.0.1:0", undefined);
    seconds(3600);
    expect(scene.done).toEqual([]);
  });
});
