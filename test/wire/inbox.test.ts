/** The receiving side alone: a gate that receives descriptors for it, and what incomplete messages may hold. */
import { constants } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BerthError } from "../../src/errors.ts";
import { adoptReceived, borrow, closeAll, type FdHandle } from "../../src/fd.ts";
import { FRAME, LOOK, type Native, native, RECEIVED_LENGTH, TAKE } from "../../src/native.ts";
import { Inbox } from "../../src/wire/inbox.ts";
import type { DescriptorGate, GatedRead, Memory, WireSettings } from "../../src/wire/receiver.ts";
import { leaksNothing } from "../support/fds.ts";
import { fileOf, memfd, socketPair } from "../support/sockets.ts";

const { EAGAIN, EIO, EMSGSIZE } = constants.errno;

leaksNothing();
let own: FdHandle;
let peer: FdHandle;
let file: FdHandle;

beforeEach(() => {
  [own, peer] = socketPair();
  file = memfd();
});

afterEach(() => closeAll([own, peer, file]));

/** A gate whose answers the test gives. */
class Gate implements DescriptorGate {
  isOpen = true;
  readonly sockets: number[] = [];
  answer: (read: GatedRead | undefined) => void = () => undefined;

  read(socket: number): Promise<GatedRead | undefined> {
    this.sockets.push(socket);
    return new Promise((resolve) => {
      this.answer = resolve;
    });
  }

  close(socket: FdHandle): void {
    socket.close();
  }
}

/** An inbox with what it told its wire, which closes it at its end. */
class Receiving {
  readonly got: { text: string; files: string[]; refused: readonly string[] | undefined }[] = [];
  readonly over: (BerthError | undefined)[] = [];
  readonly inbox: Inbox;
  resumed = 0;
  mayGoOn: () => boolean = () => true;

  constructor(options: Partial<WireSettings> = {}, raise?: () => number) {
    const settings: WireSettings = {
      framing: "nul",
      maxMessage: 20_000,
      maxFdsAhead: 2,
      maxQueue: 0,
      deadline: 0,
      sys: native,
      incomplete: undefined,
      unread: undefined,
      gate: undefined,
      ...options,
    };
    this.inbox = new Inbox(
      own,
      {
        onMessage: (bytes, length, fds, refused) => {
          expect(length).toBeLessThanOrEqual(bytes.length);
          this.got.push({ text: bytes.toString("latin1", 0, length), files: fds.map(fileOf), refused });
          closeAll(fds);
        },
        onClosed: () => undefined,
        ...(raise && { onLargeMessage: raise }),
      },
      settings,
      (cause) => {
        this.over.push(cause);
        this.inbox.close();
      },
      () => {
        this.resumed++;
      },
      () => this.mayGoOn(),
    );
  }

  get texts(): string[] {
    return this.got.map(({ text }) => text);
  }
}

function say(text: string, files: readonly FdHandle[] = []): void {
  native.sendmsg(peer.fd, Buffer.from(text), 0, borrow(files).fds, files.length);
}

/** What a gate reads of the socket. */
function readBehindGate(refused: readonly string[] = []): GatedRead {
  const bytes = Buffer.alloc(4096);
  const received = new Int32Array(RECEIVED_LENGTH);
  const size = native.recvframe(own.fd, bytes, 0, received);
  return { size, bytes, fds: adoptReceived(received, native), refused };
}

/** Lets what a promise started run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("behind a gate", () => {
  it("a frame without descriptors is read here, one with some by the gate, and the order stays", async () => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a\0");
    expect([receiving.inbox.read(), receiving.texts, receiving.inbox.waiting]).toEqual([true, ["a"], false]);
    say("b\0", [file]);
    say("c\0");
    expect([receiving.inbox.read(), receiving.inbox.waiting, receiving.resumed]).toEqual([false, true, 1]);
    expect([receiving.inbox.read(), gate.sockets]).toEqual([false, [own.fd]]);
    gate.answer(readBehindGate());
    await turn();
    expect([receiving.inbox.waiting, receiving.resumed]).toEqual([false, 2]);
    expect(receiving.got[1]).toEqual({ text: "b", files: [fileOf(file)], refused: [] });
    expect([receiving.inbox.read(), receiving.texts]).toEqual([true, ["a", "b", "c"]]);
    expect([receiving.inbox.read(), receiving.over]).toEqual([false, []]);
  });

  it("a message is told why a descriptor was not let through, also when the message came in two parts", async () => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a\0", [file]);
    receiving.inbox.read();
    closeAll(readBehindGate().fds);
    gate.answer({ size: 2, bytes: Buffer.from("a\0"), fds: [], refused: ["it is a folder"] });
    await turn();
    say("b", [file]);
    receiving.inbox.read();
    closeAll(readBehindGate().fds);
    gate.answer({ size: 1, bytes: Buffer.from("b"), fds: [], refused: ["it is a pipe"] });
    await turn();
    expect(receiving.inbox.receiving).toBe(true);
    say("c\0");
    receiving.inbox.read();
    expect(receiving.got).toEqual([
      { text: "a", files: [], refused: ["it is a folder"] },
      { text: "bc", files: [], refused: ["it is a pipe"] },
    ]);
  });

  const failed = { bytes: Buffer.alloc(0), fds: [], refused: [] };
  it.each([
    ["nothing", undefined, { code: "PROTOCOL_ERROR", message: "its descriptors cannot be received" }],
    ["EMSGSIZE", { ...failed, size: -EMSGSIZE }, { code: "DESCRIPTORS_TRUNCATED" }],
    ["EIO", { ...failed, size: -EIO }, { syscall: "recvmsg", errnoName: "EIO" }],
  ])("%s from the gate ends the connection", async (_, read, cause) => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a\0", [file]);
    receiving.inbox.read();
    gate.answer(read);
    await turn();
    expect(receiving.over).toEqual([expect.objectContaining(cause)]);
    expect([receiving.got, receiving.resumed, receiving.inbox.ended]).toEqual([[], 1, false]);
  });

  it("the end that the gate has read is the end, and what it did not find is read later", async () => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a\0", [file]);
    receiving.inbox.read();
    gate.answer({ ...failed, size: -EAGAIN });
    await turn();
    expect([receiving.over, receiving.resumed, receiving.inbox.ended]).toEqual([[], 2, false]);
    receiving.inbox.read();
    gate.answer({ ...failed, size: 0 });
    await turn();
    expect([receiving.over, receiving.inbox.ended]).toEqual([[undefined], true]);
  });

  it("closed while the gate reads, it closes what the gate brings, and delivers nothing", async () => {
    for (const brings of [true, false]) {
      const gate = new Gate();
      const receiving = new Receiving({ gate });
      say("a\0", [file]);
      receiving.inbox.read();
      receiving.inbox.close();
      const read = readBehindGate();
      if (!brings) closeAll(read.fds);
      gate.answer(brings ? read : undefined);
      await turn();
      expect([receiving.got, receiving.over, receiving.resumed]).toEqual([[], [], 1]);
    }
  });

  it("the end and an error of the socket are told as without a gate", () => {
    const failing = new Receiving({ gate: new Gate(), sys: { ...native, recvbytes: () => -EIO } });
    expect(failing.inbox.read()).toBe(false);
    expect(failing.over).toEqual([expect.objectContaining({ syscall: "recvmsg", errnoName: "EIO" })]);
    const cut = new Receiving({ gate: new Gate() });
    say("a");
    expect([cut.inbox.read(), cut.inbox.receiving]).toEqual([true, true]);
    peer.close();
    expect([cut.inbox.read(), cut.inbox.ended]).toEqual([false, true]);
    expect(cut.over).toEqual([
      expect.objectContaining({ code: "PROTOCOL_ERROR", message: "the peer closed in mid-message" }),
    ]);
    const ended = new Receiving({ gate: new Gate() });
    expect([ended.inbox.read(), ended.inbox.ended, ended.over]).toEqual([false, true, [undefined]]);
  });

  it("a steady peer's frames are read without looking for descriptors only when none can come", () => {
    const modes: [number, number][] = [];
    const recvbytes: Native["recvbytes"] = (socket, data, mode) => {
      modes.push([mode, data.length]);
      return native.recvbytes(socket, data, mode);
    };
    const gate = new Gate();
    const receiving = new Receiving({ gate, sys: { ...native, recvbytes } });
    for (let frame = 0; frame < 10; frame++) {
      say("steady\0");
      receiving.inbox.read();
    }
    gate.isOpen = false;
    say("steady\0");
    receiving.inbox.read();
    expect(modes.slice(0, 9)).toEqual(Array(9).fill([FRAME, 65_536]));
    expect(modes.slice(9)).toEqual([
      [FRAME, 65_536],
      [TAKE, 7],
    ]);
    expect(receiving.texts).toEqual(Array(11).fill("steady"));
  });

  it("after a message with descriptors the peer counts as steady only after as many frames as before", async () => {
    const lengths: number[] = [];
    const recvbytes: Native["recvbytes"] = (socket, data, mode) => {
      lengths.push(data.length);
      return native.recvbytes(socket, data, mode);
    };
    const gate = new Gate();
    const receiving = new Receiving({ gate, sys: { ...native, recvbytes } });
    for (let frame = 0; frame < 9; frame++) {
      say("steady\0");
      receiving.inbox.read();
    }
    say("steady\0", [file]);
    receiving.inbox.read();
    gate.answer(readBehindGate());
    await turn();
    gate.isOpen = false;
    lengths.length = 0;
    for (let frame = 0; frame < 9; frame++) {
      say("steady\0");
      receiving.inbox.read();
    }
    expect(lengths).toEqual([...Array(8).fill(65_536), 7]);
  });
});

describe("several frames that came at once", () => {
  function counting(): { receiving: Receiving; modes: number[] } {
    const modes: number[] = [];
    const recvbytes: Native["recvbytes"] = (socket, data, mode) => {
      modes.push(mode);
      return native.recvbytes(socket, data, mode);
    };
    return { receiving: new Receiving({ gate: new Gate(), sys: { ...native, recvbytes } }), modes };
  }

  it("are each delivered, and taken out of the socket with one call", () => {
    const { receiving, modes } = counting();
    say("begin");
    expect([receiving.inbox.read(), receiving.inbox.receiving]).toEqual([true, true]);
    say("ning\0bc\0\0d\0and a part");
    expect([receiving.inbox.read(), receiving.texts]).toEqual([true, ["beginning", "bc", "", "d"]]);
    expect(modes).toEqual([FRAME, FRAME, LOOK, TAKE]);
    expect([receiving.inbox.read(), receiving.inbox.receiving]).toEqual([true, true]);
    say(" of one\0");
    expect([receiving.inbox.read(), receiving.texts.at(-1)]).toEqual([true, "and a part of one"]);
    expect([receiving.inbox.read(), receiving.over]).toEqual([false, []]);
  });

  it("wait in the socket while the wire may not go on", () => {
    const { receiving } = counting();
    receiving.mayGoOn = () => receiving.texts.length < 3;
    say("a\0b\0c\0d\0e\0");
    expect([receiving.inbox.read(), receiving.texts]).toEqual([true, ["a", "b", "c"]]);
    expect([receiving.inbox.read(), receiving.texts]).toEqual([true, ["a", "b", "c", "d"]]);
    expect([receiving.inbox.read(), receiving.texts]).toEqual([true, ["a", "b", "c", "d", "e"]]);
    expect(receiving.inbox.read()).toBe(false);
  });

  it("are 32 at most in one read", () => {
    const { receiving } = counting();
    say("a\0".repeat(70));
    expect([receiving.inbox.read(), receiving.texts.length]).toEqual([true, 32]);
    expect([receiving.inbox.read(), receiving.texts.length]).toEqual([true, 64]);
    expect([receiving.inbox.read(), receiving.texts.length]).toEqual([true, 70]);
  });

  it("of which one exceeds the limit end the connection there", () => {
    const { receiving } = counting();
    say(`a\0${"b".repeat(20_001)}\0c\0`);
    expect([receiving.inbox.read(), receiving.texts]).toEqual([false, ["a"]]);
    expect(receiving.over).toEqual([expect.objectContaining({ code: "MESSAGE_TOO_LARGE" })]);
  });

  it("and are followed by one with a descriptor are read behind the gate", async () => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a\0b\0");
    say("c\0", [file]);
    expect([receiving.inbox.read(), receiving.texts]).toEqual([false, []]);
    for (let frames = 1; frames <= 3; frames++) {
      gate.answer(readBehindGate());
      await turn();
      expect([receiving.got.length, receiving.inbox.waiting]).toEqual([frames, false]);
      receiving.inbox.read();
    }
    expect(receiving.got.map(({ text, files }) => [text, files.length])).toEqual([
      ["a", 0],
      ["b", 0],
      ["c", 1],
    ]);
  });
});

describe("a peer that was steady", () => {
  /** An inbox that has had nine equal frames, and how many bytes each of its later reads asks for. */
  function afterNine(): { receiving: Receiving; lengths: number[] } {
    const lengths: number[] = [];
    const recvbytes: Native["recvbytes"] = (socket, data, mode) => {
      lengths.push(data.length);
      return native.recvbytes(socket, data, mode);
    };
    const gate = new Gate();
    gate.isOpen = false;
    const receiving = new Receiving({ gate, sys: { ...native, recvbytes } });
    for (let frame = 0; frame < 9; frame++) {
      say("steady\0");
      receiving.inbox.read();
    }
    lengths.length = 0;
    receiving.got.length = 0;
    return { receiving, lengths };
  }

  it("and sends a shorter frame has the ends of its frames looked for again", () => {
    const { receiving, lengths } = afterNine();
    for (const text of ["x\0", "steady\0"]) {
      say(text);
      receiving.inbox.read();
    }
    expect([receiving.texts, lengths]).toEqual([
      ["x", "steady"],
      [7, 65_536],
    ]);
  });

  it("and sends several short frames at once has each delivered with its own length", () => {
    const { receiving, lengths } = afterNine();
    say("a\0bc\0d\0e\0");
    for (let read = 0; read < 2; read++) receiving.inbox.read();
    expect([receiving.texts, lengths]).toEqual([
      ["a", "bc", "d", "e"],
      [7, 65_536],
    ]);
  });
});

it("without framing, a message of no bytes is one when it carries a descriptor", () => {
  const recvmsg: Native["recvmsg"] = (_, __, ___, received) => {
    received.set([1, 0, file.dup().steal()]);
    return 0;
  };
  const receiving = new Receiving({ framing: "message", sys: { ...native, recvmsg } });
  receiving.inbox.read();
  expect(receiving.got).toEqual([{ text: "", files: [fileOf(file)], refused: undefined }]);
  expect([receiving.over, receiving.inbox.ended]).toEqual([[], false]);
});

describe("descriptors that were not let through", () => {
  it("count against the limit of an incomplete message", async () => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a", [file]);
    receiving.inbox.read();
    gate.answer({ ...readBehindGate(), refused: ["it is a folder", "it is a pipe"] });
    await turn();
    expect(receiving.over).toEqual([
      expect.objectContaining({ message: "a message carries 3 descriptors; at most 2 are taken" }),
    ]);
  });

  it("may not come in the middle of a message either", async () => {
    const gate = new Gate();
    const receiving = new Receiving({ gate });
    say("a");
    receiving.inbox.read();
    say("b", [file]);
    receiving.inbox.read();
    closeAll(readBehindGate().fds);
    gate.answer({ size: 1, bytes: Buffer.from("b"), fds: [], refused: ["it is a folder"] });
    await turn();
    expect(receiving.over).toEqual([
      expect.objectContaining({
        code: "PROTOCOL_ERROR",
        message: "fds came in the middle of a message, not with its first byte",
      }),
    ]);
  });
});

describe("an incomplete message", () => {
  /** Memory that counts what is held, and gives no more than `most`. */
  class Counting implements Memory {
    held = 0;
    readonly taken: number[] = [];
    readonly #most: number;
    constructor(most: number = Number.POSITIVE_INFINITY) {
      this.#most = most;
    }
    take(bytes: number): boolean {
      this.taken.push(bytes);
      if (this.held + bytes > this.#most) return false;
      this.held += bytes;
      return true;
    }
    give(bytes: number): void {
      this.held -= bytes;
    }
  }

  it("takes memory by doubling, and gives it back when it is complete or the wire closes", () => {
    const memory = new Counting();
    const receiving = new Receiving({ incomplete: memory });
    say("x");
    receiving.inbox.read();
    say("y".repeat(4095));
    receiving.inbox.read();
    expect([memory.taken, memory.held]).toEqual([[4096], 4096]);
    say("z");
    receiving.inbox.read();
    expect([memory.taken, memory.held]).toEqual([[4096, 2 * 4097 - 4096], 2 * 4097]);
    say("\0");
    receiving.inbox.read();
    expect([memory.held, receiving.texts]).toEqual([0, [`x${"y".repeat(4095)}z`]]);
    say("again");
    receiving.inbox.read();
    expect(memory.held).toBe(4096);
    receiving.inbox.close();
    receiving.inbox.close();
    expect(memory.held).toBe(0);
  });

  it.each([
    ["when it begins", 0],
    ["when it grows", 4096],
  ])("ends the connection where there is no memory %s, and closes its fds", (_, most) => {
    const memory = new Counting(most);
    const receiving = new Receiving({ incomplete: memory });
    say("x", [file]);
    receiving.inbox.read();
    say("y".repeat(5000));
    receiving.inbox.read();
    expect(receiving.over).toEqual([
      expect.objectContaining({
        code: "MESSAGE_TOO_LARGE",
        message: "incomplete messages of this user hold too much memory",
      }),
    ]);
    expect([receiving.got, memory.held]).toEqual([[], 0]);
  });

  it("may carry as many descriptors as the limit, and no more", () => {
    const receiving = new Receiving();
    say("a", [file, file]);
    receiving.inbox.read();
    say("\0");
    receiving.inbox.read();
    expect(receiving.got.map(({ files }) => files.length)).toEqual([2]);
    say("a", [file, file, file]);
    receiving.inbox.read();
    expect(receiving.over).toEqual([
      expect.objectContaining({
        code: "PROTOCOL_ERROR",
        message: "a message carries 3 descriptors; at most 2 are taken",
      }),
    ]);
  });

  it("may be larger than the limit when the receiver raises it, and is asked once for each", () => {
    let limit = 6;
    let asked = 0;
    const receiving = new Receiving({ maxMessage: 3 }, () => {
      asked++;
      return limit;
    });
    say("ab\0");
    receiving.inbox.read();
    expect(asked).toBe(0);
    say("abcde\0");
    receiving.inbox.read();
    say("fghij\0");
    receiving.inbox.read();
    expect([asked, receiving.texts]).toEqual([1, ["ab", "abcde", "fghij"]]);
    limit = 5;
    say("abcdef\0");
    receiving.inbox.read();
    expect(receiving.over).toEqual([
      expect.objectContaining({ code: "MESSAGE_TOO_LARGE", message: "a message exceeds 5 bytes" }),
    ]);
  });
});
