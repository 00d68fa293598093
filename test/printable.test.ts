import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { printable, printableJson } from "../src/printable.ts";

const hostile = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const anyText = fc.string({ unit: "binary" });

describe("printable", () => {
  test("whatever comes in, nothing comes out that a terminal obeys", () => {
    fc.assert(fc.property(anyText, (text) => !hostile.test(printable(text))));
  });

  test("leaves what can be seen as it is, in any script", () => {
    expect(printable("arena@bob 127.0.0.1:77 Привет 東京 é")).toBe("arena@bob 127.0.0.1:77 Привет 東京 é");
  });

  test("shows what it hides", () => {
    expect(printable("a\u001b[2J\nb\u009b\u202e\u{e0001}\ud800")).toBe(
      "a\\x1b[2J\\x0ab\\x9b\\u{202e}\\u{e0001}\\u{d800}",
    );
  });
});

describe("printableJson", () => {
  test("is the same value, on lines that a terminal shows as they are", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), fc.constantFrom(0, 2), (value, indent) => {
        const text = printableJson(value, indent);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(text.replaceAll("\n", "")).not.toMatch(hostile);
      }),
    );
  });
});
