/** The units of berths by systemctl(1): which manager has them, and what is said where none does. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Place, type Services, servicesFor } from "../../src/cli/services.ts";
import { TestFolder } from "../support/broker.ts";

const root: Place = { isBooted: true, hasOwn: false };
const user: Place = { isBooted: true, hasOwn: true };

/** Those of berth arena, with a script in place of systemctl. */
async function withSystemctl<T>(script: string, place: Place, use: (services: Services) => Promise<T>): Promise<T> {
  using folder = new TestFolder({ systemctl: `#!/bin/sh\n${script}\n` });
  const program = join(folder.path, "systemctl");
  chmodSync(program, 0o755);
  return await use(await servicesFor("arena", place, { program }));
}

/** Answers that a unit is loaded, and does the rest for another verb. */
const loaded = (rest: string): string => `case "$*" in *LoadState*) echo LoadState=loaded; exit;; esac\n${rest}`;

describe("the service of a berth", () => {
  test("without systemd, the way is berth run", async () => {
    await expect(servicesFor("arena", { isBooted: false, hasOwn: false })).rejects.toMatchObject({
      code: "SYSTEM_ERROR",
      message: expect.stringMatching(/^systemd does not run here, .* berth run arena$/),
    });
  });

  test("without a unit, the units are to be written", async () => {
    await expect(withSystemctl("echo LoadState=not-found", root, async () => undefined)).rejects.toMatchObject({
      code: "SYSTEM_ERROR",
      message: "systemd has no unit berth@arena.service; to write it: berth units install && systemctl daemon-reload",
    });
  });

  test.each([
    ["of the system, for root", root, "echo LoadState=loaded", false],
    ["of the user, where it has the unit", user, "echo LoadState=loaded", true],
    ["of the system, where the user's has none", user, 'test "$1" = --user || echo LoadState=loaded', false],
  ])("is %s", async (_, place, script, isUser) => {
    expect(await withSystemctl(script, place, async (services) => services.isUser)).toBe(isUser);
  });

  test.each([
    ["exit 0", root, undefined],
    ["echo Job failed. >&2; exit 1", root, "systemctl start berth@arena.service failed: Job failed"],
    ["echo Job failed. >&2; exit 1", user, "systemctl --user start berth@arena.service failed: Job failed"],
    [
      "echo Interactive authentication required. >&2; exit 1",
      root,
      "systemctl start berth@arena.service failed: Interactive authentication required; do it as root",
    ],
  ])("a start that ends with %j", async (script, place, message) => {
    const done = withSystemctl(loaded(script), place, (services) => services.run("start", ["berth@arena.service"]));
    if (message === undefined) expect(await done).toBeUndefined();
    else await expect(done).rejects.toMatchObject({ code: "SYSTEM_ERROR", message });
  });

  test("has a main process, and says how its last one ended", async () => {
    const script = loaded("echo MainPID=12; echo ActiveState=failed; echo ExecMainCode=1; echo ExecMainStatus=3");
    await withSystemctl(script, root, async (services) => {
      expect(await services.mainOf("berth@arena.service")).toBe(12);
      expect(await services.endOf("berth@arena.service")).toEqual({ reason: "it ended with status 3", status: 3 });
    });
  });
});
