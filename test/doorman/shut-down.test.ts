/** A listener that a process of an earlier server shuts down while a doorman watches it. */
import { describe, expect, it } from "vitest";
import { minecraft, networkOf } from "../../packages/doorman/src/index.ts";
import { Taps } from "../../src/broker/demand/doorman/taps.ts";
import { AnsweredSocket } from "../../src/doorman/sockets/answered.ts";
import { HeldSocket } from "../../src/doorman/sockets/held.ts";
import { type Native, native } from "../../src/native.ts";
import { needsBpf } from "../support/bpf.ts";
import { leaksNothing } from "../support/fds.ts";
import { boundSocket } from "../support/sockets.ts";

leaksNothing("soon");

const SHUT_RDWR = 2;

/** How often a poll was closed. */
let closed = 0;

class CountedPoll extends native.Poll {
  override close(): void {
    closed++;
    super.close();
  }
}

const sys: Native = { ...native, Poll: CountedPoll };

const context = {
  sys,
  converse: () => minecraft.converse({ name: "Frozen Lake", map: "", slots: 12 }, "it is asleep"),
  admission: { knows: () => true, admits: () => true },
  networkOf,
  onWake: () => undefined,
  onServed: () => undefined,
};

describe("a listener that is shut down is watched no longer, for it is ready for ever: one", () => {
  it("whose connections are answered", async () => {
    using listener = boundSocket("tcp://127.0.0.1:0", 9);
    closed = 0;
    const watched = new AnsweredSocket(listener.fd, { ...context, wakesAtOnce: false });
    try {
      expect(native.shutdown(listener.fd, SHUT_RDWR)).toBe(0);
      await expect.poll(() => closed, { timeout: 30_000 }).toBe(1);
    } finally {
      watched.close();
    }
  });

  it("whose logins are held", needsBpf(), async () => {
    using listener = boundSocket("tcp://127.0.0.1:0", 9);
    using taps = Taps.open([listener.fd], native);
    const [ring = -1, program = -1] = taps.fds;
    closed = 0;
    const watched = HeldSocket.attach(listener.fd, [ring, program], { ...context, hold: 1000 });
    try {
      expect(native.shutdown(listener.fd, SHUT_RDWR)).toBe(0);
      await expect.poll(() => closed, { timeout: 30_000 }).toBe(1);
    } finally {
      watched?.close();
    }
  });
});
