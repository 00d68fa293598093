/** Protocol Buffers and gRPC's frames, as bytes. What they mean to etcd is in etcd.test.ts. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { Deframer, frame, MAX_MESSAGE_BYTES, MalformedFrame } from "../../../packages/fleet/src/etcd/frames.ts";
import { readTxn, readWatch } from "../../../packages/fleet/src/etcd/messages.ts";
import { MalformedMessage, Message, MessageWriter } from "../../../packages/fleet/src/etcd/protobuf.ts";

it("numbers, texts and messages are read as they were written", () => {
  const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  fc.assert(
    fc.property(int64, fc.string({ unit: "grapheme" }), fc.maxSafeInteger(), (big, text, safe) => {
      const inner = new MessageWriter().text(1, text).finish();
      const bytes = new MessageWriter()
        .number(1, big)
        .text(2, text)
        .message(300, inner)
        .message(300, inner)
        .number(4, safe)
        .finish();
      const message = new Message(bytes);
      expect(message.integer(1)).toBe(big);
      expect(message.text(2)).toBe(text);
      expect(message.messages(300).map((one) => one.text(1))).toEqual([text, text]);
      expect(message.number(4)).toBe(safe);
      expect([message.number(5), message.text(6), message.flag(7), message.messages(8)]).toEqual([0, "", false, []]);
    }),
  );
});

it("bytes are as in the documentation of Protocol Buffers", () => {
  expect(new MessageWriter().number(1, 150).finish().toString("hex")).toBe("089601");
  expect(new MessageWriter().text(2, "testing").finish().toString("hex")).toBe("120774657374696e67");
});

it("fields of kinds that we do not use are skipped", () => {
  const fixed = Buffer.from("090102030405060708" + "1501020304" + "1805", "hex");
  expect(new Message(fixed).number(3)).toBe(5);
});

it("whatever etcd could send instead of a message is refused as such, and never loops", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const read of [readTxn, readWatch]) {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessage);
        }
      }
    }),
  );
  expect(() => new Message(Buffer.from("0a05", "hex"))).toThrow("ends 5 bytes too early");
  expect(() => new Message(Buffer.alloc(12, 0xff))).toThrow("number of more than ten bytes");
  expect(() => new Message(Buffer.from("0b", "hex"))).toThrow("unknown kind 3");
});

it("messages come out of frames as they went in, in whatever pieces they arrive", () => {
  const messages = fc.array(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (sent, sizes) => {
      const bytes = Buffer.concat(sent.map(frame));
      const deframer = new Deframer();
      const got: Buffer[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = sizes[turn % sizes.length] ?? 1;
        got.push(...deframer.push(bytes.subarray(at, at + size)));
        at += size;
      }
      expect(got).toEqual(sent);
    }),
  );
});

it("a frame that is compressed or too long is refused before its bytes are kept", () => {
  const compressed = Buffer.from("0100000001aa", "hex");
  expect(() => new Deframer().push(compressed)).toThrow(MalformedFrame);
  const long = Buffer.alloc(5);
  long.writeUInt32BE(MAX_MESSAGE_BYTES + 1, 1);
  expect(() => new Deframer().push(long)).toThrow(MalformedFrame);
});
