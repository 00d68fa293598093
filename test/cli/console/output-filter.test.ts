import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutputFilter, type OutputFor } from "../../../src/cli/console/output-filter.ts";

/** What passes of the text, and what passes of it byte by byte, which must be the same. */
function passed(output: OutputFor, text: string): string {
  const bytes = Buffer.from(text);
  const filter = new OutputFilter(output);
  const single = new OutputFilter(output);
  const whole = filter.push(bytes);
  expect(Array.from(bytes, (byte) => single.push(Buffer.of(byte))).join("")).toBe(whole);
  return whole;
}

/** The control characters of a text, but for these. */
function controlsIn(text: string, allowed: string): string[] {
  return [...text].filter((character) => /\p{Cc}/u.test(character) && !allowed.includes(character));
}

describe("the filter before a screen", () => {
  test.each([
    ["text of any language", "Grüße, 日本語 👩‍🚀\r\n\tend\b\u0007"],
    ["colours", "\u001b[1;31mred\u001b[38;2;1;2;3mtrue\u001b[38:5:9m\u001b[m"],
    [
      "moves and erasing",
      "\u001b[2J\u001b[H\u001b[10;20f\u001b[K\u001b[3A\u001b[J\u001b[1P\u001b[2@\u001b[5d\u001b7\u001b8\u001bM",
    ],
    ["the cursor hidden and shown", "\u001b[?25l\u001b[?25h"],
  ])("lets pass %s", (_, text) => {
    expect(passed("screen", text)).toBe(text);
  });

  test.each([
    ["the clipboard (OSC 52)", "\u001b]52;c;aGFja2Vk\u0007"],
    ["a title, ended by ST", "\u001b]0;pwned\u001b\\"],
    ["a report of the title", "\u001b[21t"],
    ["a report of the cursor or the device", "\u001b[6n\u001b[5n\u001b[c\u001b[>c\u001b[=c\u001bZ"],
    ["a question for settings (DECRQSS, DECRQM)", "\u001bP$qm\u001b\\\u001b[?2004$p"],
    ["the answerback (ENQ)", "\u0005"],
    ["reports of the mouse, the focus, and pastes", "\u001b[?1000h\u001b[?1004h\u001b[?2004h"],
    ["other keys (modifyOtherKeys, kitty)", "\u001b[>4;1m\u001b[>1u"],
    ["a reset", "\u001bc\u001b[!p"],
    ["another character set", "\u001b(0\u000e\u000f"],
    ["the lines that have scrolled away erased", "\u001b[3J"],
    ["the alternate screen", "\u001b[?1049h"],
    ["a privacy message and an application's", "\u001b^x\u001b\\\u001b_Gf=24\u001b\\"],
    ["C1 controls in UTF-8", "\u009b6n\u009d0;x\u0090"],
    ["a sequence without end", `\u001b[${"1;".repeat(10_000)}m`],
  ])("drops %s", (_, text) => {
    expect(passed("screen", `a${text}b`)).toMatch(/^a[\w;=$]*b$/);
    expect(passed("screen", `a${text}b`)).not.toContain("\u001b");
  });

  test("lets no control character pass but those of a sequence it knows", () => {
    const pieces = fc.constantFrom(
      "\u001b",
      "[",
      "]",
      "P",
      "?",
      "1",
      ";",
      "m",
      "n",
      "h",
      "\u0007",
      "\\",
      "\r",
      "\n",
      "x",
      "\u009b",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        const [begin = "", ...sequences] = passed("screen", parts.join("")).split("\u001b");
        expect(controlsIn(begin + sequences.join(""), "\u0007\r\n")).toEqual([]);
        for (const sequence of sequences) expect(sequence).toMatch(/^(?:[78M]|\[(?:[0-9;:]*[mP]|\?(?:7|25)[hl]))/);
      }),
    );
  });
});

describe("the filter before a file", () => {
  test("leaves lines of text", () => {
    expect(passed("plain", "\u001b[32mok\u001b[0m\r\n\u001b]0;t\u0007next\u0007\r\n")).toBe("ok\nnext\n");
  });

  test("puts what was overwritten on a line of its own", () => {
    expect(passed("plain", "10 %\r20 %\r\ndone\n")).toBe("10 %\n20 %\ndone\n");
  });

  test("lets nothing pass but text, tabs and line breaks", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(controlsIn(passed("plain", text), "\t\n")).toEqual([]);
      }),
    );
  });
});
