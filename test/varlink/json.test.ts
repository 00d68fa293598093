import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { decodeObject, MAX_NESTING } from "../../src/varlink/json.ts";
import { runs } from "../support/property-runs.ts";

/** `levels` objects inside each other. */
const nested = (levels: number) => `${'{"a":'.repeat(levels - 1)}{}${"}".repeat(levels - 1)}`;

/** A key as JSON may spell it: each character plain or as \uXXXX. */
const spellings = (key: string) =>
  fc
    .array(fc.boolean(), { minLength: key.length, maxLength: key.length })
    .map((escapes) =>
      escapes
        .map((escaped, at) =>
          escaped
            ? `\\u${key.charCodeAt(at).toString(16).padStart(4, "0")}`
            : JSON.stringify(key.charAt(at)).slice(1, -1),
        )
        .join(""),
    );

describe("decodeObject", () => {
  it("agrees with JSON.parse on every object, however it is spaced", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ maxDepth: 8 })),
        fc.constantFrom(undefined, 1, "\t", "\r\n"),
        (object, space) => {
          const text = JSON.stringify(object, undefined, space);
          expect(decodeObject(text)).toEqual(JSON.parse(text));
        },
      ),
      { numRuns: runs(200) },
    );
  });

  it("refuses whatever JSON.parse refuses, and never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u0061ab \n\0') }), (text) => {
        let valid: unknown;
        try {
          valid = JSON.parse(text);
        } catch {
          expect(decodeObject(text)).toContain("the message");
          return;
        }
        const decoded = decodeObject(text);
        if (typeof decoded !== "string") expect(decoded).toEqual(valid);
      }),
      { numRuns: runs(2000) },
    );
  });

  it("refuses a key given twice, wherever the object is and however the key is spelt", () => {
    const member = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value));
    const duplicate = fc
      .oneof(fc.string({ minLength: 1, maxLength: 4 }), fc.constantFrom("", "__proto__", "constructor", "0", '"', "\\"))
      .chain((key) =>
        fc.tuple(spellings(key), member, fc.constantFrom("", '"between":{"x":[1]},'), spellings(key), member),
      )
      .map(([first, a, between, second, b]) => `{"${first}":${a},${between}"${second}":${b}}`);
    const wrapped = fc
      .tuple(duplicate, fc.array(fc.constantFrom('{"in":', '{":":"}{","in":', '{"list":[{},"[",'), { maxLength: 6 }))
      .map(([inner, around]) => {
        const close = around.map((open) => (open.endsWith('[{},"[",') ? "]}" : "}")).reverse();
        return around.join("") + inner + close.join("");
      });
    fc.assert(
      fc.property(wrapped, (text) => {
        JSON.parse(text); // valid but for the repetition
        expect(decodeObject(text)).toBe("the message has the same key twice in one object");
      }),
      { numRuns: runs(200) },
    );
  });

  it("takes the same key in two different objects", () => {
    expect(decodeObject('{"a":{"a":[{"a":1},{"a":2}]}}')).toEqual({ a: { a: [{ a: 1 }, { a: 2 }] } });
  });

  it("keeps __proto__ as a field of its own and pollutes nothing", () => {
    const decoded = decodeObject('{"__proto__":{"polluted":true}}');
    expect(Object.keys(decoded)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    expect("polluted" in {}).toBe(false);
  });

  it("is not misled by quotes, backslashes, colons and brackets inside strings", () => {
    const object = { 'a":"b': "\\", "[[[": '\\"', ":": "{{{:", "\\": '"}' };
    expect(decodeObject(JSON.stringify(object))).toEqual(object);
    expect(decodeObject(JSON.stringify({ text: "[".repeat(1000) }))).toEqual({ text: "[".repeat(1000) });
  });

  it("nests as deep as the limit and no deeper, in objects and in arrays", () => {
    expect(decodeObject(nested(MAX_NESTING))).toEqual(JSON.parse(nested(MAX_NESTING)));
    expect(decodeObject(nested(MAX_NESTING + 1))).toContain(`deeper than ${MAX_NESTING}`);
    expect(decodeObject(`{"a":${"[".repeat(MAX_NESTING)}${"]".repeat(MAX_NESTING)}}`)).toContain("deeper");
    expect(decodeObject(`{"a":${"[".repeat(5_000_000)}`)).toContain("deeper");
  });

  it("is not limited by how many objects stand beside each other", () => {
    const text = `{"a":[${Array(1000).fill("{}").join()}]}`;
    expect(decodeObject(text)).toEqual(JSON.parse(text));
  });

  it.each(["null", "1", '"a"', "[]", "[{}]", "true"])("refuses %s, which is no object", (text) => {
    expect(decodeObject(text)).toBe("the message is valid JSON, but not an object");
  });

  it.each([
    "",
    " ",
    "{",
    '{"a',
    '{"a\\',
    '{"a\\"',
    "{}{}",
    "{'a':1}",
    '{"a":1,}',
    '\uFEFF{"a":1}',
    "{}\0",
    "]".repeat(40),
  ])("says that %j is not valid JSON", (text) => {
    let why = "";
    try {
      JSON.parse(text);
    } catch (error) {
      why = error instanceof Error ? error.message : "";
    }
    expect(decodeObject(text)).toBe(`the message is not valid JSON: ${why}`);
  });

  it("refuses more keys and array items than the limit, before they are decoded, unless the limit is raised", () => {
    const text = '{"a":[1,2,3],"b":{"c":"x,y:z"}}';
    const values = 6;
    expect(decodeObject(text, { values })).toEqual(JSON.parse(text));
    expect(decodeObject(text, { values: values - 1 })).toBe("the message has too many keys or array items");
    expect(decodeObject(text, { values: 0, raise: () => values })).toEqual(JSON.parse(text));
    expect(decodeObject(text, { values: 0, raise: () => values - 1 })).toContain("too many");
    const list = '{"a":[1,2,3]}';
    expect(decodeObject(list, { values: 3 })).toEqual(JSON.parse(list));
    expect(decodeObject(list, { values: 2 })).toContain("too many");
    // Not even valid JSON: it was not looked at any further.
    expect(decodeObject(`{"a":[${"0,".repeat(100_000)}`, { values: 1000 })).toContain("too many");
  });

  it("asks for a higher limit, which may be costly to find, only for a text with too many", () => {
    const raise = vi.fn(() => 1000);
    decodeObject('{"a":1}', { values: 1, raise });
    decodeObject(nested(MAX_NESTING + 1), { values: 1000, raise });
    decodeObject("[]", { values: 1, raise });
    expect(raise).not.toHaveBeenCalled();
  });
});
