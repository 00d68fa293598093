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

  test.each(["", "0", "-1", "2x", "x2", " 2", "1e3", "0x2", "2147483645", "2147483647", "99999999999"])(
    "LISTEN_FDS=%j is an error and not a guess",
    (LISTEN_FDS) => {
      expect(parseListenFds({ LISTEN_PID: "42", LISTEN_FDS }, 42)).toEqual({
        invalid: `LISTEN_FDS is "${LISTEN_FDS}", which is not a number of descriptors from 1 up`,
      });
    },
  );

  test("of more descriptors than can be open, the names are counted first", () => {
    // INT_MAX - 3 is the most that sd_listen_fds(3) takes.
    expect(parseListenFds({ LISTEN_PID: "42", LISTEN_FDS: "2147483644", LISTEN_FDNAMES: "a:b" }, 42)).toEqual({
      invalid: 'LISTEN_FDNAMES holds 2 names, "a:b", but LISTEN_FDS is 2147483644',
    });
  });

  test.each(["", "0", "-42", "42x", "x42", "2147483648", "99999999999"])("LISTEN_PID=%j is an error", (LISTEN_PID) => {
    expect(parseListenFds({ LISTEN_PID, LISTEN_FDS: "2" }, 42)).toEqual({
      invalid: `LISTEN_PID is "${LISTEN_PID}", which is not a process id; start the program through its launcher`,
    });
  });

  test.each(["1", "2147483647"])("LISTEN_PID=%s is another process", (LISTEN_PID) => {
    expect(parseListenFds({ LISTEN_PID, LISTEN_FDS: "2" }, 42)).toEqual({ ignored: "not ours" });
  });

  test("LISTEN_PIDFDID must be ours where we know ours, and a number in any case", () => {
    const env = { ...ours, LISTEN_PIDFDID: "7" };
    expect(parseListenFds(env, 42, 7n)).toHaveProperty("fds");
    expect(parseListenFds(env, 42)).toHaveProperty("fds");
    expect(parseListenFds(ours, 42, 7n)).toHaveProperty("fds");
    expect(parseListenFds(env, 42, 8n)).toEqual({ ignored: "not ours" });
    for (const LISTEN_PIDFDID of ["x", "7x", "x7", "", "1".repeat(21)]) {
      expect(parseListenFds({ ...env, LISTEN_PIDFDID }, 42)).toEqual({
        invalid: `LISTEN_PIDFDID is "${LISTEN_PIDFDID}", which is not the number of a pidfd's inode`,
      });
    }
    expect(parseListenFds({ ...env, LISTEN_PIDFDID: "1".repeat(20) }, 42)).toHaveProperty("fds");
  });

  test.each(["", "game", "a:b:c", "a:b:"])("names that do not match the count are an error: %j", (LISTEN_FDNAMES) => {
    const number = LISTEN_FDNAMES.split(":").length;
    expect(parseListenFds({ ...ours, LISTEN_FDNAMES }, 42)).toEqual({
      invalid: `LISTEN_FDNAMES holds ${number} names, "${LISTEN_FDNAMES}", but LISTEN_FDS is 2`,
    });
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
