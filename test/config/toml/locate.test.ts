import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { describe, expect, it } from "vitest";
import { locate, type Place } from "../../../src/config/toml/locate.ts";

function lineOf(toml: string, ...path: string[]): number | undefined {
  parse(toml);
  let place: Place | undefined = locate(toml);
  for (const key of path) place = place?.children.get(key);
  return place?.line;
}

describe("locate", () => {
  it("finds keys of sections, dotted keys and inline tables", () => {
    const toml = "# head\n[a.b]\nc.d = 1\n\n[e]\nf = { g = 2, h.i = [3] }\n";
    expect(lineOf(toml, "a", "b")).toBe(2);
    expect(lineOf(toml, "a", "b", "c", "d")).toBe(3);
    expect(lineOf(toml, "e", "f", "h", "i", "0")).toBe(6);
    expect([...(locate(toml).children.get("e")?.children.get("f")?.children.keys() ?? [])]).toEqual(["g", "h"]);
  });

  it("finds each element of an array over several lines, comments and commas between them", () => {
    const toml = 'a = [ # ]\n  "x", # ,\n\n  "y]",\n  ["z",\n  "w"],\n]\nb = 1';
    expect(["0", "1", "2"].map((index) => lineOf(toml, "a", index))).toEqual([2, 4, 5]);
    expect(lineOf(toml, "a", "2", "1")).toBe(6);
    expect(lineOf(toml, "b")).toBe(8);
  });

  it("is not misled by strings that look like sections, keys or quotes", () => {
    const toml = `a = """\n[x]\nb = 1 \\""" """"\nc = '''\n'[y]' ''''\nd = "\\"[z]#" # '\ne = '\\'\nf = 2020-01-01 07:00:00\n`;
    expect(["a", "c", "d", "e", "f"].map((key) => lineOf(toml, key))).toEqual([1, 4, 6, 7, 8]);
  });

  it.each([
    ["a literal string of several lines", "a = '''x y\nb = 5\n'''\nb = 1", ["b"], 4],
    ["a string that goes on after a backslash", 'a = """x \\\nb = 5 \\\n"""\nb = 1', ["b"], 4],
    ["a literal string with a bracket", "a = ['x]y',\n2]\nb = 3", ["a", "1"], 2],
    ["what follows that", "a = ['x]y',\n2]\nb = 3", ["b"], 3],
    ["a literal key", "\n'ab.c' = 1", ["ab.c"], 2],
    ["a value after several blanks", "a \t =  [\n1]", ["a", "0"], 2],
  ])("reads past %s", (_, toml, path, line) => {
    expect(lineOf(toml, ...path)).toBe(line);
  });

  it("knows quoted keys, carriage returns and a byte order mark", () => {
    const toml = '\uFEFF[ "a.b" . \'c\' ]\r\n"\\u0064 e" = 1\r\nf = 2\r\n';
    expect(lineOf(toml, "a.b", "c", "d e")).toBe(2);
    expect(lineOf(toml, "a.b", "c", "f")).toBe(3);
  });

  it("gives the elements of an array of tables their own lines", () => {
    const toml = "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3\n";
    expect(lineOf(toml, "a", "0", "b")).toBe(2);
    expect(lineOf(toml, "a", "1", "b")).toBe(4);
    expect(lineOf(toml, "a", "1", "c", "d")).toBe(6);
    expect(lineOf("[[a.b]]\nc = 1\n", "a", "b", "0", "c")).toBe(2);
  });

  it("finds every key of any document, on a line that names it", () => {
    const key = fc.string({ unit: "grapheme", maxLength: 8 }).filter((name) => name !== "__proto__");
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string(), { maxLength: 3 }));
    const { document } = fc.letrec((tie) => ({
      document: fc.dictionary(key, fc.oneof({ depthSize: "small" }, leaf, tie("document")), { maxKeys: 5 }),
    }));
    fc.assert(
      fc.property(document, (value) => {
        const toml = stringify(value);
        const lines = toml.split("\n");
        const visit = (table: object, place: Place): void => {
          expect([...place.children.keys()].sort()).toEqual(Object.keys(table).sort());
          for (const [name, entry] of Object.entries(table)) {
            const child = place.children.get(name);
            const written = /^[\w-]+$/.test(name) ? name : JSON.stringify(name).slice(1, -1);
            if (!/[\\\p{C}]/u.test(written)) expect(lines[(child?.line ?? 0) - 1]).toContain(written);
            if (child !== undefined && typeof entry === "object" && !Array.isArray(entry)) visit(entry, child);
          }
        };
        visit(parse(toml), locate(toml));
      }),
    );
  });

  it("ends on any text, also on one that the parser refuses", () => {
    const piece = fc.constantFrom("a", "=", "[", "]", "{", "}", ",", ".", "\n", '"', "'''", "#", " ");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        expect(locate(pieces.join("")).line).toBe(1);
      }),
    );
  });
});
