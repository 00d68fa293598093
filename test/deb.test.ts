/** `npm run deb` as a program: its messages, and what it leaves. test/systemd/boot/deb.test.ts installs the package. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { packageRoot } from "../src/native.ts";
import { TestFolder } from "./support/broker.ts";

describe("npm run deb", { timeout: 60_000 }, () => {
  let folder: TestFolder;
  beforeEach(() => {
    folder = new TestFolder({ "tmp/.keep": "", "out/.keep": "" });
  });
  afterEach(() => folder[Symbol.dispose]());

  const left = (name: string): string[] => readdirSync(join(folder.path, name));

  async function deb(
    args: readonly string[],
    path = process.env["PATH"],
  ): Promise<[number | string | null, string, string]> {
    const child = start(args, path);
    const output = Promise.all([text(child.stdout), text(child.stderr)]);
    const [code, signal] = await once(child, "close");
    return [code ?? signal, ...(await output)];
  }

  function start(args: readonly string[], path = process.env["PATH"]) {
    const env = { ...process.env, PATH: path, TMPDIR: join(folder.path, "tmp"), BERTHD_SKIP_BUILD: "1" };
    const all = ["scripts/deb.mjs", "--out", join(folder.path, "out"), ...args];
    return spawn(process.execPath, all, { cwd: packageRoot, env, stdio: ["ignore", "pipe", "pipe"] });
  }

  /** A program in front of all others in PATH. */
  function before(name: string, script: string): string {
    folder.write({ [`bin/${name}`]: `#!/bin/sh\n${script}\n` });
    chmodSync(join(folder.path, "bin", name), 0o755);
    return `${join(folder.path, "bin")}:${process.env["PATH"]}`;
  }

  it("prints its options", async () => {
    const [code, stdout] = await deb(["--help"]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^usage: npm run deb .*--revision N .*--json /s)]);
  });

  it.each([
    [["--revision", "0"], 100, "deb: --revision 0 is not a number"],
    [["--verbose"], 100, "deb: Unknown option '--verbose'"],
    [["--arch", "mips"], 1, "--arch mips: there is x64 and arm64"],
  ])("%j is %i: %s", async (args, code, message) => {
    const [ended, stdout, stderr] = await deb(args);
    expect([ended, stdout]).toEqual([code, ""]);
    expect(stderr).toContain(message);
  });

  it("says which program is missing, and the package that has it", async () => {
    const [code, , stderr] = await deb([], join(folder.path, "out"));
    expect(code).toBe(1);
    expect(stderr).toMatch(/there is no (git|strip); apt-get install (git|binutils)\n$/);
    expect(left("tmp")).toEqual([".keep"]);
  });

  it("leaves nothing when dpkg-deb fails", async () => {
    const [code, stdout, stderr] = await deb([], before("dpkg-deb", "echo no space left >&2; exit 2"));
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("no space left\ndpkg-deb failed; what it said stands above\n");
    expect([left("tmp"), left("out")]).toEqual([[".keep"], [".keep"]]);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("leaves nothing when %s ends it", async (signal) => {
    const child = start([], before("dpkg-deb", "echo building; exec sleep 1000"));
    const ended = once(child, "close");
    for await (const part of child.stderr.setEncoding("utf8")) if (part.includes("building\n")) break;
    child.kill(signal);
    expect(await ended).toEqual([null, signal]);
    expect([left("tmp"), left("out")]).toEqual([[".keep"], [".keep"]]);
  });
});
