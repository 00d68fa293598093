import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isListenFdName, parseListenFds } from "../../src/launch/listen-fds.ts";

const ours = { LISTEN_PID: "42", LISTEN_FDS: "2" };

describe("parseListenFds, as sd_listen_fds_with_names(3)", () => {
  test("numbers descriptors from 3 and gives them their names", () => {
    expect(parseListenFds({ ...ours, LISTEN_FDNAMES: "game:query" }, 42)).toEqual({
      fds: [
        { fd: 3, name: "game" },
        { fd: 4, name: "query" },
      ],
    });
  });

  test("calls descriptors unknown where there are no names", () => {
    expect(parseListenFds(ours, 42)).toEqual({
      fds: [
        { fd: 3, name: "unknown" },
        { fd: 4, name: "unknown" },
      ],
    });
  });

  test("keeps empty names, which count", () => {
    expect(parseListenFds({ ...ours, LISTEN_FDNAMES: "game:" }, 42)).toEqual({
      fds: [
        { fd: 3, name: "game" },
        { fd: 4, name: "" },
      ],
    });
  });

  test("ignores variables that were set for another process, however wrong they are", () => {
    expect(parseListenFds({ LISTEN_PID: "41", LISTEN_FDS: "x" }, 42)).toEqual({ ignored: "not ours" });
  });

  test.each([{}, { LISTEN_FDS: "2" }, { LISTEN_PID: "42" }])("finds none where a variable is absent: %j", (env) => {
    expect(parseListenFds(env, 42)).toEqual({ ignored: "absent" });
  });

  test.each(["", "0", "-1", "2x", " 2", "1e3", "0x2", "2147483647", "99999999999"])(
    "LISTEN_FDS=%j is an error and not a guess",
    (LISTEN_FDS) => {
      expect(parseListenFds({ LISTEN_PID: "42", LISTEN_FDS }, 42)).toHaveProperty("invalid");
    },
  );

  test.each(["", "0", "-42", "42x", "99999999999"])("LISTEN_PID=%j is an error", (LISTEN_PID) => {
    expect(parseListenFds({ LISTEN_PID, LISTEN_FDS: "2" }, 42)).toHaveProperty("invalid");
  });

  test("LISTEN_PIDFDID must be ours where we know ours, and a number in any case", () => {
    const env = { ...ours, LISTEN_PIDFDID: "7" };
    expect(parseListenFds(env, 42, 7n)).toHaveProperty("fds");
    expect(parseListenFds(env, 42)).toHaveProperty("fds");
    expect(parseListenFds(env, 42, 8n)).toEqual({ ignored: "not ours" });
    expect(parseListenFds({ ...env, LISTEN_PIDFDID: "x" }, 42)).toHaveProperty("invalid");
  });

  test.each(["", "game", "a:b:c", "a:b:"])("names that do not match the count are an error: %j", (LISTEN_FDNAMES) => {
    expect(parseListenFds({ ...ours, LISTEN_FDNAMES }, 42)).toHaveProperty("invalid");
  });
});

describe("isListenFdName", () => {
  test("what it takes can be written beside others, and is read back", () => {
    const name = fc.string({ unit: "grapheme-ascii", maxLength: 255 }).filter(isListenFdName);
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 20 }), (names) => {
        const env = { LISTEN_PID: "7", LISTEN_FDS: `${names.length}`, LISTEN_FDNAMES: names.join(":") };
        expect(parseListenFds(env, 7)).toEqual({ fds: names.map((given, index) => ({ fd: index + 3, name: given })) });
      }),
    );
  });

  test.each(["a:b", "a\nb", "gäme", "x".repeat(256), "a\x7f"])("refuses %j", (name) => {
    expect(isListenFdName(name)).toBe(false);
  });
});
