/** A wire behind a gate, of which several frames are read at once: when it stops between two, and what it leaves. */
import { constants } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { closeAll, type FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { type DescriptorGate, type Turn, Wire } from "../../src/wire.ts";
import { leaksNothing } from "../support/fds.ts";
import { lastPoll, scripted } from "../support/scripted-native.ts";
import { socketPair } from "../support/sockets.ts";

const { EAGAIN, ECONNRESET } = constants.errno;
const NOTHING = new Int32Array(0);

leaksNothing();
let own: FdHandle;
let peer: FdHandle;

beforeEach(() => {
  [own, peer] = socketPair();
});

afterEach(() => closeAll([own, peer]));

const gate: DescriptorGate = {
  isOpen: true,
  read: () => Promise.resolve(undefined),
  close: (socket) => socket.close(),
};

/** A wire that does `onFrame` with each frame, and the frames that it has delivered. */
function wireThat(onFrame: (wire: Wire, text: string) => void, turn?: Turn): { wire: Wire; got: string[] } {
  const got: string[] = [];
  const wire: Wire = new Wire(
    own,
    {
      onMessage: (bytes, length) => {
        const text = bytes.toString("latin1", 0, length);
        got.push(text);
        onFrame(wire, text);
      },
      onClosed: () => undefined,
    },
    { framing: "nul", deadline: 0, gate, sys: scripted(), turn },
  );
  return { wire, got };
}

function say(text: string): void {
  native.sendmsg(peer.fd, Buffer.from(text), 0, NOTHING, 0);
}

/** What the peer reads next: a text, "" at the end, or -errno. */
function heard(): string | number {
  const bytes = Buffer.alloc(100);
  const size = native.recvmsg(peer.fd, bytes, 0, new Int32Array(255));
  return size < 0 ? size : bytes.toString("latin1", 0, size);
}

it("closed by the last of them, its peer reads the replies and the end, and is not reset", () => {
  const { got } = wireThat((wire, text) => {
    wire.send(Buffer.from(`re ${text},`));
    if (text === "c") wire.close();
  });
  say("a\0b\0c\0");
  lastPoll().turn();
  expect([got, heard(), heard()]).toEqual([["a", "b", "c"], "re a,re b,re c,", ""]);
});

it("closed by one before, it delivers no further one, and the peer learns that some were not read", () => {
  const { got } = wireThat((wire, text) => {
    if (text === "b") wire.close();
  });
  say("a\0b\0c\0");
  lastPoll().turn();
  expect([got, heard()]).toEqual([["a", "b"], -ECONNRESET]);
});

it("paused by one, it delivers the next when reading goes on", () => {
  const { wire, got } = wireThat((wire, text) => wire.setReading(text !== "b"));
  say("a\0b\0c\0d\0");
  lastPoll().turn();
  expect(got).toEqual(["a", "b"]);
  wire.setReading(true);
  while (lastPoll().turn());
  expect(got).toEqual(["a", "b", "c", "d"]);
  wire.close();
});

it("out of its turn, it leaves the others for the next one", () => {
  let left = 3;
  const run: Turn["run"] = (read) => {
    read();
    return true;
  };
  const turn: Turn = { run, goesOn: () => --left > 0, leave: () => undefined };
  const { wire, got } = wireThat(() => undefined, turn);
  say("a\0b\0c\0d\0");
  lastPoll().turn();
  expect(got).toEqual(["a", "b", "c"]);
  while (lastPoll().turn());
  expect(got).toEqual(["a", "b", "c", "d"]);
  expect(heard()).toBe(-EAGAIN);
  wire.close();
});
