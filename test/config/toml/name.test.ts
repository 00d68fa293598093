import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expandSpecifiers, isSocketName, parseBerthName, specifiersOf } from "../../../src/config/toml/name.ts";
import { closest, editDistance, suggest } from "../../../src/config/toml/suggest.ts";

describe("parseBerthName", () => {
  it("tells plain berths, templates and instances apart", () => {
    expect(parseBerthName("arena")).toEqual({ kind: "plain", full: "arena" });
    expect(parseBerthName("arena@")).toEqual({ kind: "template", full: "arena@", template: "arena" });
    expect(parseBerthName("arena@bob.2")).toEqual({
      kind: "instance",
      full: "arena@bob.2",
      template: "arena",
      instance: "bob.2",
    });
  });

  it.each(["", ".", "..", "-a", "@a", "a@b@c", "a b", "a/b", "ä", "a\n", "a".repeat(65), `a@${"b".repeat(65)}`])(
    "refuses %j",
    (name) => expect(parseBerthName(name)).toBeUndefined(),
  );
});

describe("isSocketName", () => {
  it("takes only what LISTEN_FDNAMES and a placeholder can carry", () => {
    expect(["game", "rcon-2", "A_b", "2"].every(isSocketName)).toBe(true);
    expect(["", "a:b", "a b", "a}", "a.b", "a".repeat(65)].some(isSocketName)).toBe(false);
  });
});

describe("expandSpecifiers", () => {
  const name = parseBerthName("arena@bob");
  const specifiers = name === undefined ? new Map<string, string>() : specifiersOf(name);

  it("expands all four, once", () => {
    expect(expandSpecifiers("%i %n %t %% %%i", specifiers, expect.unreachable)).toBe("bob arena@bob arena % %i");
  });

  it("leaves %i and %t of a berth that is no instance, and takes any character after the percent sign", () => {
    const plain = parseBerthName("arena");
    const unknown: string[] = [];
    const own = plain === undefined ? new Map<string, string>() : specifiersOf(plain);
    expect(expandSpecifiers("%n %i %t %\n%\u{1f9c0}", own, (specifier) => unknown.push(specifier))).toBe(
      "arena %i %t %\n%\u{1f9c0}",
    );
    expect(unknown).toEqual(["%i", "%t", "%\n", "%\u{1f9c0}"]);
  });

  it("names an unknown one and one that the end cuts off", () => {
    const unknown: string[] = [];
    expect(expandSpecifiers("%x 100%", specifiers, (specifier) => unknown.push(specifier))).toBe("%x 100%");
    expect(unknown).toEqual(["%x", "%"]);
  });

  it("gives back any text whose percent signs are doubled", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(expandSpecifiers(text.replaceAll("%", "%%"), specifiers, expect.unreachable)).toBe(text);
      }),
    );
  });
});

describe("closest", () => {
  it("finds a slip and nothing far away", () => {
    expect(closest("reuseport", ["backlog", "reuse-port"])).toBe("reuse-port");
    expect(closest("aa", ["ab", "ac"])).toBe("ab");
    expect(closest("bakclog", ["backlog", "mark"])).toBe("backlog");
    expect(closest("colour", ["backlog", "mark"])).toBeUndefined();
  });

  it.each([
    ["a", "b", true],
    ["a", "bc", false],
    ["abcde", "abcxx", false],
    ["abcdef", "abcdxx", true],
    ["abcdef", "abcxxx", false],
    ["ABCDEF", "abcdef", true],
    ["abcdef", "ABCDEX", true],
  ])("%s is a slip for %s: %s", (word, candidate, isSlip) => {
    expect(closest(word, [candidate])).toBe(isSlip ? candidate : undefined);
  });

  it("prefers the nearest, and of equally near ones the first", () => {
    expect(closest("abcdef", ["abcdxx", "abcdex", "abcdey"])).toBe("abcdex");
  });

  it("is what a remedy names, or else all candidates", () => {
    expect(suggest("bakclog", ["backlog", "mark"])).toBe('did you mean "backlog"?');
    expect(suggest("colour", ["backlog", "mark"])).toBe("write one of: backlog, mark");
  });

  it.each([
    ["kitten", "sitting", 3],
    ["", "abc", 3],
    ["abc", "", 3],
    ["flaw", "lawn", 2],
    ["ab", "ba", 2],
    ["abc", "xbc", 1],
  ])("counts from %j to %j %i edits", (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
  });

  it("measures a distance: zero to itself, the same both ways", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });
});
