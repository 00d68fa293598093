/** The calls of one connection, of which the last one is kept. */
import { describe, expect, it } from "vitest";
import { CallDecoder } from "../../src/varlink/call-decoder.ts";
import { encodeCall } from "../../src/varlink/message.ts";

function decode(decoder: CallDecoder, bytes: Buffer): unknown {
  return decoder.decode(bytes, bytes.length - 1);
}

describe("the decoder of a connection", () => {
  it("gives the same object for the same bytes in a row, and another one for others", () => {
    const decoder = new CallDecoder();
    const [one, two] = [encodeCall("a.B", { berth: "one" }), encodeCall("a.B", { berth: "two" }, { more: true })];
    const first = decode(decoder, one);
    expect(first).toEqual({ method: "a.B", parameters: { berth: "one" }, more: false, oneway: false });
    expect(decode(decoder, Buffer.from(one))).toBe(first);
    expect(decode(decoder, two)).toEqual({ method: "a.B", parameters: { berth: "two" }, more: true, oneway: false });
    expect(decode(decoder, one)).toEqual(first);
  });

  it("looks only at the message, not at what is behind it in the buffer", () => {
    const decoder = new CallDecoder();
    const bytes = encodeCall("a.B", { berth: "one" });
    const first = decode(decoder, bytes);
    expect(decoder.decode(Buffer.concat([bytes, bytes]), bytes.length - 1)).toBe(first);
    expect(decoder.decode(bytes, bytes.length - 2)).toMatch(/^the message is not valid JSON/);
    expect(decode(decoder, bytes)).toBe(first);
  });

  it("refuses bytes that are no UTF-8, although a message with the same text came before", () => {
    const decoder = new CallDecoder();
    const good = encodeCall("a.B", { text: "\uFFFD" });
    const bad = Buffer.concat([good.subarray(0, good.indexOf("\uFFFD")), Buffer.of(0xff), Buffer.from('"}}\0')]);
    expect(bad.toString()).toBe(good.toString());
    expect(decode(decoder, good)).toMatchObject({ parameters: { text: "\uFFFD" } });
    expect(decode(decoder, bad)).toBe("the message is not UTF-8");
  });

  it("keeps no call that is long, that is none, or that has too many values", () => {
    const decoder = new CallDecoder({ values: 4 });
    const long = encodeCall("a.B", { text: "x".repeat(300) });
    expect(decode(decoder, long)).not.toBe(decode(decoder, long));
    const none = Buffer.from('{"method":1}\0');
    expect([decode(decoder, none), decode(decoder, none)]).toEqual(Array(2).fill(expect.stringContaining("unknown")));
    const many = encodeCall("a.B", { a: 1, b: 2, c: 3 });
    for (let n = 0; n < 2; n++) expect(decode(decoder, many)).toBe("the message has too many keys or array items");
  });
});
