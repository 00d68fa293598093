/** server.no-namespaces: a server that makes and enters namespaces, with and without the filter. */
import { execFileSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { encode, FakeBroker, launch, planOf } from "./fake-broker.ts";

/** Runs the server under a plan, and with words before the berth; returns what came of each way. */
async function ways(plan: { readonly noNamespaces?: boolean }, ...before: string[]): Promise<Map<string, string>> {
  using broker = new FakeBroker();
  const program = join(broker.folder, "namespaces");
  const source = join(packageRoot, "test/fixtures/launch/namespaces.c");
  execFileSync("gcc", ["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", program, source]);
  chmodSync(broker.folder, 0o755);
  broker.offer(encode(planOf([program], plan)));
  const { code, stdout, stderr } = await launch(broker, [...before, "arena"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return new Map(
    stdout
      .trimEnd()
      .split("\n")
      .map((line): [string, string] => [line.replace(/: .*/, ""), line.replace(/.*: /, "")]),
  );
}

const harmless = ["thread", "unshare of files"];

describe("a server that makes namespaces", () => {
  test("may, unless the berth says otherwise", async () => {
    const all = await ways({});
    for (const way of ["unshare", "clone", "clone3"]) expect([way, all.get(way)]).toEqual([way, "done"]);
  });

  test.each<[string, { readonly noNamespaces?: boolean }, string[]]>([
    ["no-namespaces", { noNamespaces: true }, []],
    ["berth-launch --no-namespaces", {}, ["--no-namespaces"]],
  ])("cannot with %s, by no way into the kernel, and has its threads", async (_, plan, before) => {
    const all = await ways(plan, ...before);
    for (const way of harmless) expect([way, all.get(way)]).toEqual([way, "done"]);
    expect(all.get("clone3")).toBe("ENOSYS");
    const others = [...all].filter(([way]) => !harmless.includes(way) && way !== "clone3");
    expect(others.length).toBeGreaterThanOrEqual(5);
    for (const [way, result] of others) expect([way, result]).toEqual([way, "EPERM"]);
  });
});
