/** The session keyring of whoever launches a server, with a secret in it. */
import { chmodSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { needs } from "../support/needs.ts";
import { encode, FakeBroker, launcher, nobody, type Outcome, planOf, run } from "./fake-broker.ts";

const fixture = join(packageRoot, "test/fixtures/launch/keyring.py");
const NONE = "none: Required key not available\n";

/** Launches a server that looks for the secret of the session, with these words before the launcher. */
async function search(before: readonly string[] = [], user = {}): Promise<Outcome> {
  using broker = new FakeBroker();
  chmodSync(broker.folder, 0o755);
  const program = join(broker.folder, "keyring.py"); // the server may not reach ours
  copyFileSync(fixture, program);
  broker.offer(encode(planOf(["python3", program, "search"], user)));
  return await run(["python3", fixture, "add", ...before, launcher, "--socket", broker.path, "arena"]);
}

describe("a key in the session keyring of the launcher", () => {
  test("is there for another program of the session", async () => {
    expect(await run(["python3", fixture, "add", "python3", fixture, "search"])).toMatchObject({ stdout: "secret\n" });
  });

  test("cannot be found by the server", async () => {
    expect(await search()).toMatchObject({ code: 0, stdout: NONE, stderr: "" });
  });

  test("cannot be found by a server that is root, either", needs("root"), async () => {
    const root = { user: { ...nobody, uid: 0, gid: 0 } };
    expect(await search([], root)).toMatchObject({ code: 0, stdout: NONE, stderr: "" });
  });
});

describe("a kernel that gives no keyring", needs("strace"), () => {
  const inject = (what: string): Promise<Outcome> =>
    search(["strace", "-o", "/dev/null", "-e", "trace=keyctl", "-e", `inject=keyctl:${what}`]);

  test.each([
    ["it has none", "error=ENOSYS"],
    ["a container forbids them, to the server too", "error=EPERM"],
  ])("%s: the server runs", async (_, what) => {
    // strace changes the server's calls as well.
    expect(await inject(what)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^none: /), stderr: "" });
  });

  test("the quota of the server's user is full: the server runs, in one of the launcher's user", async () => {
    expect(await inject("error=EDQUOT:when=2")).toMatchObject({ code: 0, stdout: NONE, stderr: "" });
  });

  test("all quotas are full: no server runs", async () => {
    const { code, stdout, stderr } = await inject("error=EDQUOT");
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain("cannot leave the launcher's session keyring: Disk quota exceeded");
  });
});
