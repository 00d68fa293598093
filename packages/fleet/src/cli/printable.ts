/** Text from etcd for a terminal: a name or a reason cannot move the cursor, set a title or begin a line. Pure. */

// Control characters, invisible format characters (bidirectional overrides among them), line and paragraph separators,
// and halves of surrogate pairs.
const hostile = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text on one line; what a terminal would obey is written as `\u001b`. In JSON that is the same value. */
export function printable(text: string): string {
  return text.replace(hostile, (character) =>
    character
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}
