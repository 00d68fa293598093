import { describe, expect, it } from "vitest";
import {
  decodeBytes,
  encodeCall,
  encodeError,
  encodeReply,
  type Parameters,
  readCall,
  readReply,
} from "../../src/varlink/message.ts";

function decoded(bytes: Buffer): Parameters {
  const object = decodeBytes(bytes, bytes.length - 1);
  if (typeof object === "string") throw new Error(object);
  return object;
}

it("what is encoded is read back", () => {
  const call = encodeCall("a.b.C", { text: "käse\0\u{1f9c0}" }, { more: true });
  expect(call.indexOf(0)).toBe(call.length - 1);
  expect(readCall(decoded(call))).toEqual({
    method: "a.b.C",
    parameters: { text: "käse\0\u{1f9c0}" },
    more: true,
    oneway: false,
  });
  expect(readReply(decoded(encodeReply({ x: 1 }, true)))).toEqual({
    parameters: { x: 1 },
    continues: true,
    error: undefined,
  });
  expect(readReply(decoded(encodeError("a.b.No")))).toEqual({ parameters: {}, continues: false, error: "a.b.No" });
});

it("an error reply begins with its error, by which berth-launch knows it", () => {
  expect(encodeError("a.b.No", { x: 1 }).toString()).toBe('{"error":"a.b.No","parameters":{"x":1}}\0');
});

describe("readCall", () => {
  it.each([
    [{ parameters: {} }, 'the call has no "method"'],
    [{ method: 1 }, `the call's field "method" is unknown or of the wrong type`],
    [{ method: "a.b.C", parameters: [] }, `the call's field "parameters" is unknown or of the wrong type`],
    [{ method: "a.b.C", oneway: "yes" }, `the call's field "oneway" is unknown or of the wrong type`],
    [{ method: "a.b.C", more: 1 }, `the call's field "more" is unknown or of the wrong type`],
    [{ method: "a.b.C", surprise: {} }, `the call's field "surprise" is unknown or of the wrong type`],
    [{ method: "a.b.C", surprise: false }, `the call's field "surprise" is unknown or of the wrong type`],
    [{ method: "a.b.C", surprise: "" }, `the call's field "surprise" is unknown or of the wrong type`],
    [{ method: "a.b.C", ["x".repeat(65)]: 1 }, `the call's field "${"x".repeat(64)}" is unknown or of the wrong type`],
    [{ method: "a.b.C", upgrade: true }, "this service has no method that upgrades a connection"],
    [{ method: "a.b.C", oneway: true, more: true }, "a call is either oneway or asks for more"],
  ])("says what is wrong with %j", (object, why) => {
    expect(readCall(object)).toBe(why);
  });

  it("takes either flag alone, and its parameters", () => {
    const call = { method: "a.b.C", parameters: { x: 1 }, more: false, oneway: false };
    expect(readCall({ ...call, more: true })).toEqual({ ...call, more: true });
    expect(readCall({ ...call, oneway: true })).toEqual({ ...call, oneway: true });
  });

  it("takes null parameters for none, and false flags for absent ones", () => {
    expect(readCall({ method: "a.b.C", parameters: null, more: false, oneway: false, upgrade: false })).toEqual({
      method: "a.b.C",
      parameters: {},
      more: false,
      oneway: false,
    });
  });
});

it('"more": null, "oneway": null and "upgrade": null are as good as absent, and so are those of a reply', () => {
  expect(readCall({ method: "a.b.C", parameters: null, more: null, oneway: null, upgrade: null })).toEqual({
    method: "a.b.C",
    parameters: {},
    more: false,
    oneway: false,
  });
  expect(readReply({ parameters: null, continues: null, error: null })).toEqual({
    parameters: {},
    continues: false,
    error: undefined,
  });
  expect(readCall({ method: null })).toContain('"method" is unknown or of the wrong type');
  expect(readCall({ method: "a.b.C", surprise: null })).toContain('"surprise" is unknown');
});

it.each([
  [{ parameters: [] }, "the reply's parameters are no object"],
  [{ parameters: "x" }, "the reply's parameters are no object"],
  [{ continues: "yes" }, "the reply's continues is no boolean"],
  [{ error: 1 }, "the reply's error is no string"],
])("readReply says what is wrong with %j", (object, why) => {
  expect(readReply(object)).toBe(why);
});

it("flags and parameters that say nothing are not sent", () => {
  expect(encodeCall("a.b.C", {}).toString()).toBe('{"method":"a.b.C","parameters":{}}\0');
  expect(encodeCall("a.b.C", {}, { oneway: true, more: false }).toString()).toBe(
    '{"method":"a.b.C","parameters":{},"oneway":true}\0',
  );
  expect(encodeReply({ x: 1 }).toString()).toBe('{"parameters":{"x":1}}\0');
});

describe("decodeBytes", () => {
  it("refuses bytes that are not UTF-8, and takes a replacement character that was really sent", () => {
    const bad = Buffer.from([0x7b, 0x22, 0xc3, 0x22, 0x3a, 0x31, 0x7d]);
    expect(decodeBytes(bad, bad.length)).toBe("the message is not UTF-8");
    const good = Buffer.from('{"x":"\uFFFD"}');
    expect(decodeBytes(good, good.length)).toEqual({ x: "\uFFFD" });
  });

  it("looks at no more than the first `length` bytes", () => {
    expect(decodeBytes(Buffer.from('{"x":1}garbage\xff', "latin1"), 7)).toEqual({ x: 1 });
  });
});
