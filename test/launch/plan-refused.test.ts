import { describe, expect, test } from "vitest";
import { encode, FakeBroker, launch, planOf, SEALED, sentence } from "./fake-broker.ts";

/** A sanitizer makes each launch several times slower (.ci/sanitize). */
const hundredsOfLaunches = { timeout: process.env["BERTHD_SANITIZED"] === "1" ? 240_000 : 60_000 };

describe("a plan that cannot be trusted or followed ends the launch with 111, and nothing runs", () => {
  const bytes = encode(
    planOf(["echo", "ran"], {
      environment: { A: "b" },
      fds: [{ name: "game", index: 1 }],
      limits: [{ resource: "core", soft: 0, hard: "keep" }],
      directory: "/",
    }),
  );

  async function refused(broker: FakeBroker): Promise<string> {
    const outcome = await launch(broker);
    expect(outcome).toMatchObject({ code: 111, signal: null, stdout: "", stderr: expect.stringMatching(sentence) });
    return outcome.stderr;
  }

  test("the whole plan is good", async () => {
    using broker = new FakeBroker();
    broker.offer(bytes, ["game"]);
    expect(await launch(broker)).toMatchObject({ code: 0, stdout: "ran\n" });
  });

  test.each([1, 2, 4, 8])("a plan without seal %i could change", async (seal) => {
    using broker = new FakeBroker();
    broker.offer(bytes, ["game"], SEALED & ~seal);
    expect(await refused(broker)).toContain("not sealed");
  });

  test("a plan cut off at any byte, with its length as it was or made to fit", hundredsOfLaunches, async () => {
    using broker = new FakeBroker();
    const ends = new Set<number>();
    for (let at = 16; at < bytes.length; at += 8 + bytes.readUInt32LE(at + 4)) ends.add(at);
    for (let length = 0; length < bytes.length; length++) {
      broker.offer(bytes.subarray(0, length), ["game"]);
      await refused(broker);
      // Cut between two records it is another plan, and perhaps a good one.
      if (length < 16 || ends.has(length)) continue;
      const fitted = Buffer.from(bytes.subarray(0, length));
      fitted.writeUInt32LE(length, 12);
      broker.offer(fitted, ["game"]);
      await refused(broker);
    }
  });

  test("any byte of a header or a record's tag or length changed", hundredsOfLaunches, async () => {
    using broker = new FakeBroker();
    const structure = Array.from({ length: 16 }, (_, index) => index);
    for (let at = 16; at < bytes.length; at += 8 + bytes.readUInt32LE(at + 4)) {
      structure.push(...Array.from({ length: 8 }, (_, index) => at + index));
    }
    for (const at of structure) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0x80;
      broker.offer(changed, ["game"]);
      await refused(broker);
    }
  });

  test("bytes after its end", async () => {
    using broker = new FakeBroker();
    broker.offer(Buffer.concat([bytes, Buffer.of(0)]), ["game"]);
    await refused(broker);
  });

  test.each([1, 2, 3, 4, 5])("no record %i", async (tag) => {
    using broker = new FakeBroker();
    const parts = [bytes.subarray(0, 16)];
    for (let at = 16; at < bytes.length; at += 8 + bytes.readUInt32LE(at + 4)) {
      if (bytes.readUInt32LE(at) !== tag) parts.push(bytes.subarray(at, at + 8 + bytes.readUInt32LE(at + 4)));
    }
    const without = Buffer.concat(parts);
    without.writeUInt32LE(without.length, 12);
    broker.offer(without, ["game"]);
    expect(await refused(broker)).toContain("a record is missing");
  });

  test("a descriptor that did not come", async () => {
    using broker = new FakeBroker();
    broker.offer(bytes);
    expect(await refused(broker)).toContain("a descriptor that did not come");
  });

  test.each([
    ["uid", 0],
    ["gid", 4],
    ["group", 8],
  ])("a user whose %s is the number that changes nothing", async (_, at) => {
    using broker = new FakeBroker();
    const USER = 9;
    const plan = encode(planOf(["echo", "ran"], { user: { uid: 65_534, gid: 65_534, groups: [7] } }));
    for (let start = 16; start < plan.length; start += 8 + plan.readUInt32LE(start + 4))
      if (plan.readUInt32LE(start) === USER) plan.writeUInt32LE(0xffff_ffff, start + 8 + at);
    broker.offer(plan);
    expect(await refused(broker)).toContain("its user has the id 4294967295");
  });

  const bind = { source: "/etc", target: "/srv", readOnly: true };
  const root = { userns: 2, mount: 3, keepGroups: true, mounts: [{ index: 4, target: "/srv" }], binds: [bind] };

  /** The plan with a root in it, and its record `tag` changed. */
  function changed(tag: number, change: (payload: Buffer) => void): Buffer {
    const plan = encode(planOf(["echo", "ran"], { fds: [{ name: "game", index: 1 }], root }));
    for (let at = 16; at < plan.length; at += 8 + plan.readUInt32LE(at + 4)) {
      if (plan.readUInt32LE(at) === tag) change(plan.subarray(at, at + 8 + plan.readUInt32LE(at + 4)));
    }
    return plan;
  }

  const ROOT = 12;
  const MOUNT = 13;
  const BIND = 14;
  test.each<[string, number, (record: Buffer) => void, string]>([
    ["a user namespace that did not come", ROOT, (record) => record.writeUInt32LE(5, 8), "did not come with it"],
    ["a root that is the plan itself", ROOT, (record) => record.writeUInt32LE(0, 12), "did not come with it"],
    ["a root that is a descriptor, too", ROOT, (record) => record.writeUInt32LE(1, 12), "one descriptor twice"],
    ["a root that is its user namespace", ROOT, (record) => record.writeUInt32LE(2, 12), "one descriptor twice"],
    ["an unknown flag of a root", ROOT, (record) => record.writeUInt32LE(2, 16), "its root is malformed"],
    ["a mount that is the root, too", MOUNT, (record) => record.writeUInt32LE(3, 8), "one descriptor twice"],
    ["a mount at a relative path", MOUNT, (record) => record.write("x", 12), "no absolute path"],
    ["a mount without a root", ROOT, (record) => record.writeUInt32LE(MOUNT, 0), "a mount has no absolute path"],
    ["an unknown flag of a bind", BIND, (record) => record.writeUInt32LE(2, 8), "a bind is malformed"],
    ["a bind of a relative path", BIND, (record) => record.write("x", 12), "no absolute paths"],
    ["a bind to a relative path", BIND, (record) => record.write("x", 17), "no absolute paths"],
    ["a bind to nowhere", BIND, (record) => record.write("x", 16), "no absolute paths"],
  ])("%s", async (_, tag, change, words) => {
    using broker = new FakeBroker();
    broker.offer(changed(tag, change), ["game", "userns", "root", "mount"]);
    expect(await refused(broker)).toContain(words);
  });

  test("a root that is no mount, and a user namespace that is none", async () => {
    using broker = new FakeBroker();
    broker.offer(
      changed(0, () => undefined),
      ["game", "userns", "root", "mount"],
    );
    expect(await refused(broker)).toContain("cannot join the user namespace");
  });

  test("a limit that the launcher does not know", async () => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(["echo", "ran"], { limits: [{ resource: "luck", soft: 1, hard: 1 }] })));
    expect(await refused(broker)).toContain('limits "luck"');
  });

  test.each([
    [["/nonexistent/server"], "cannot run /nonexistent/server as uid"],
    [["nonexistent-server"], "cannot run nonexistent-server: it is not in PATH=/usr/local/bin:/usr/bin:/bin"],
    [["/etc/passwd"], "Permission denied; let the server's user read and execute it"],
    [[""], "cannot run : it is not in PATH"],
  ])("the program %j", async (argv, words) => {
    using broker = new FakeBroker();
    broker.offer(encode(planOf(argv)));
    expect(await refused(broker)).toContain(words);
  });
});
