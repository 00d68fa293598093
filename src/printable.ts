/**
 * Text for people, in a terminal or a log: whatever a name or an address contains, it cannot move the cursor, begin a
 * line of its own or reorder one. Pure.
 */

// Control characters, invisible format characters (bidirectional overrides among them), line and paragraph separators,
// and halves of surrogate pairs.
const hostile = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text on one line, with what a terminal would obey instead of showing written as `\x1b` or `\u{202e}`. */
export function printable(text: string): string {
  return text.replace(hostile, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

/** JSON that is as safe to look at: what JSON leaves as it is but a terminal obeys is escaped, the value the same. */
export function printableJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, undefined, indent).replace(hostile, (character) =>
    character === "\n" ? character : character.split("").map(escapeUnit).join(""),
  );
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
