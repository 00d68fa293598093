/** Names and messages that would control a terminal, or forge a line, in what the launcher prints. */
import { describe, expect, test } from "vitest";
import { printable } from "../../src/printable.ts";
import { encode, FakeBroker, launch, launcher, planOf, run } from "./fake-broker.ts";

/** All that a terminal may obey, and the characters beside it. No surrogates: UTF-8 has none. */
const hostile = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const characters: string[] = [];
for (let point = 1; point < 0x11_0000; point++) {
  const isSurrogate = point >= 0xd7ff && point <= 0xe000;
  const near = isSurrogate ? [] : [point - 1, point, point + 1].filter((one) => one > 0 && one < 0x11_0000);
  if (point !== 0x2f && near.some((one) => hostile.test(String.fromCodePoint(one))))
    characters.push(String.fromCodePoint(point));
}

/** Texts of at most 40 characters, short enough for the name of a program. */
const texts = Array.from({ length: Math.ceil(characters.length / 40) }, (_, part) =>
  characters.slice(part * 40, part * 40 + 40).join(""),
);

describe("what a terminal would obey", () => {
  test("is written out in a sentence on stderr, as the other programs write it", async () => {
    using broker = new FakeBroker();
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) {
      broker.offer(encode(planOf([text])));
      const { code, stderr } = await launch(broker);
      const path = "/usr/local/bin:/usr/bin:/bin";
      const remedy = "install it, or write its full path in server.command";
      expect({ code, stderr }).toEqual({
        code: 111,
        stderr: `berth-launch: cannot run ${printable(text)}: it is not in PATH=${path}; ${remedy}\n`,
      });
    }
  });

  test("is written out in the plan of --dry-run, which keeps its value", async () => {
    using broker = new FakeBroker();
    const limits = [{ resource: "no\u009bfile\nuser", soft: 1, hard: 1 }];
    broker.offer(encode(planOf(["server", ...texts], { limits })));
    const { stdout } = await launch(broker, ["--dry-run", "arena"]);
    expect(stdout.replaceAll("\n", "")).not.toMatch(hostile);
    const said = stdout.split("\n").filter((line) => line.startsWith("argument"));
    expect(said.map((line) => JSON.parse(line.slice("argument".length)))).toEqual(texts);
    expect(stdout).toContain("no\\x9bfile\\x0auser");
  });

  test("is written out where the broker said it, so that a name forges no line", async () => {
    using broker = new FakeBroker();
    const message = 'the berth "a\u009b2J\u202e" is taken';
    broker.answer = { text: JSON.stringify({ error: "a.b", parameters: { message } }), fds: [] };
    expect((await launch(broker)).stderr).toBe('berth-launch: the berth "a\\x9b2J\\u{202e}" is taken\n');
  });

  test("is written out where it came as a byte that is no UTF-8", async () => {
    const { stderr } = await run([
      "sh",
      "-c",
      `"$0" --replace "$(printf 'x\\2332J\\nberth-launch: y')" arena`,
      launcher,
    ]);
    expect(stderr).toBe("berth-launch: --replace x\\x9b2J\\x0aberth-launch: y is not known; write no, try or must\n");
  });
});
