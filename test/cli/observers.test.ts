import { expect, it } from "vitest";
import type { Accounts } from "../../src/accounts.ts";
import { observersOf } from "../../src/cli/observers.ts";
import { SysError } from "../../src/errors.ts";

const accounts: Accounts = {
  passwd: (user) => {
    if (user === "broken") throw new SysError("getpwnam_r", 5);
    return user === "web" ? { name: "web", uid: 998, gid: 998, groups: [], home: "/", shell: "/bin/sh" } : undefined;
  },
  group: () => undefined,
};

it("names and ids become ids; a user that is missing or cannot be looked up is logged and left out", () => {
  const logged: string[] = [];
  const log = (_: string, message: string): void => void logged.push(message);
  expect(observersOf(["web", "1000", "gone", "broken"], accounts, log)).toEqual({
    uids: [998, 1000],
    gids: [],
    units: [],
  });
  expect(logged).toEqual([
    "--observer gone: there is no such user; create it (useradd --system gone), then restart berthd",
    expect.stringMatching(/^--observer broken: getpwnam_r/),
  ]);
});
