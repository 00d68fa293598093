import { describe, expect, test } from "vitest";
import { KEYS, Keys } from "../../../src/cli/console/keys.ts";

/** What these chunks of input come to. */
function pressed(...chunks: string[]): string[] {
  const keys = new Keys();
  return chunks.flatMap((chunk) =>
    keys
      .push(Buffer.from(chunk, "latin1"))
      .map((action) =>
        action.kind === "type"
          ? `type ${JSON.stringify(action.bytes.toString("latin1"))}`
          : action.kind === "tell"
            ? `tell ${action.message}`
            : action.kind,
      ),
  );
}

describe("keys on a console", () => {
  test("text goes to the server as it is", () => {
    expect(pressed("say hi\r", "\u001b[A\u00c3\u00bc")).toEqual(['type "say hi\\r"', 'type "\\u001b[A\u00c3\u00bc"']);
  });

  test("Ctrl-] d detaches, in one piece or in two", () => {
    expect(pressed("ab\u001dd")).toEqual(['type "ab"', "detach"]);
    expect(pressed("ab\u001d", "dc")).toEqual(['type "ab"', "detach", 'type "c"']);
  });

  test.each([
    ["\u0003", "Ctrl-C"],
    ["\u0004", "Ctrl-D"],
    ["\u001a", "Ctrl-Z"],
    ["\u001c", "Ctrl-\\"],
  ])("%j is held back, and typed after Ctrl-]", (key, name) => {
    const held = `tell ${name} may end the server: Ctrl-] ${name} types it; Ctrl-] d detaches`;
    expect(pressed(`a${key}b`)).toEqual(['type "a"', held, 'type "b"']);
    expect(pressed(`a\u001d${key}b`)).toEqual(['type "a"', `type ${JSON.stringify(`${key}b`)}`]);
    expect(pressed("a\u001d", `${key}b`)).toEqual(['type "a"', `type ${JSON.stringify(`${key}b`)}`]);
  });

  test("Ctrl-] Ctrl-] types one", () => {
    expect(pressed("\u001d\u001dd")).toEqual(['type "\\u001dd"']);
  });

  test("Ctrl-] and another key lists the keys, and types nothing", () => {
    expect(pressed("\u001dxy")).toEqual([`tell ${KEYS}`, 'type "y"']);
  });
});
