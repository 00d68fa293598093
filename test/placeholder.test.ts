/**
 * Placeholders that a server is to get as they are. The others: test/config/keys/berth.test.ts, test/e2e/serve.test.ts.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { escapePlaceholders, expandPlaceholders } from "../src/placeholder.ts";

const nothing = { sockets: () => undefined };

test("{brace} stands for a brace before a word", () => {
  expect(expandPlaceholders('{"port": "{brace}port}", "{brace}root:x}"', nothing)).toBe(
    '{"port": "{port}", "{root:x}"',
  );
});

test("a text that looks like a placeholder is escaped, any other text stays", () => {
  expect(escapePlaceholders("{port:game} {map} {{root}} {fd} {brace}")).toBe(
    "{brace}port:game} {map} {{brace}root}} {brace}fd} {brace}brace}",
  );
});

test("whatever the text, escaping it gives what expands to it", () => {
  const word = fc.constantFrom("{", "}", ":", "fd", "port", "address", "root", "brace", "game", "1", "");
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      const text = words.join("");
      expect(expandPlaceholders(escapePlaceholders(text), nothing)).toBe(text);
    }),
    { numRuns: 2000 },
  );
});
