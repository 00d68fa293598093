/** `berth fleet` finds berth-fleet and becomes it. */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { TestFolder } from "../support/broker.ts";
import { berth, cli, start } from "./support.ts";

const program = `#!/bin/sh
echo "$$ $A: $*"
exit 7
`;

test("every word and option is berth-fleet's, and so are the process and its exit status", async () => {
  using folder = new TestFolder({ "bin/berth-fleet": program });
  chmodSync(join(folder.path, "bin/berth-fleet"), 0o755);
  const env = { PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}`, A: "b" };
  for (const words of [
    ["ls", "--json"],
    ["--help"],
    ["--etcd", "http://h:1", "ls"],
    ["move", "a-1", "--to", "h2"],
    [],
  ]) {
    const child = start(["fleet", ...words], env);
    const said = text(child.stdout);
    const [code] = await once(child, "close");
    expect([code, await said]).toEqual([7, `${child.pid} b: ${words.join(" ")}\n`]);
  }
});

test("without the package it says how to install it", async () => {
  const { code, stdout, stderr } = await berth(["fleet", "ls"], { PATH: "/nowhere" });
  expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
  expect(stderr).toBe(
    "berth: there is no berth-fleet beside berth or in PATH; to install it: npm install --global berthd-fleet\n",
  );
});

test("one beside berth comes before one in PATH", () => {
  using folder = new TestFolder({
    "here/berth-fleet": "#!/bin/sh\necho here\n",
    "there/berth-fleet": "#!/bin/sh\necho there\n",
  });
  for (const name of ["here/berth-fleet", "there/berth-fleet"]) chmodSync(join(folder.path, name), 0o755);
  // As npm installs programs.
  symlinkSync(cli, join(folder.path, "here/berth"));
  const env = { PATH: `${join(folder.path, "there")}:${process.env["PATH"]}` };
  const said = execFileSync(process.execPath, [join(folder.path, "here/berth"), "fleet"], { env, encoding: "utf8" });
  expect(said).toBe("here\n");
});
