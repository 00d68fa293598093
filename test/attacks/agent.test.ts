/** Runtimes that are none: whoever floods the seccomp agent's socket holds up nobody else. */
import { describe, it, vi } from "vitest";
import { Siege, STRANGER, TENANT } from "../support/attacks/siege.ts";
import { needs } from "../support/needs.ts";

vi.setConfig({ testTimeout: 60_000 });

const STATE = '{"ociVersion":"1.0.2","fds":["seccompFd"],"pid":1,"metadata":"prey","state":{"id":"c","pid":1}}';

describe.each([
  ["a stranger", STRANGER],
  ["a tenant", TENANT],
] as const)("%s", needs("root"), (_, uid) => {
  it.each([
    ["whole states, with sockets that linger", STATE],
    ["states that never end, with sockets that linger", '{"pid":'],
  ])("sends %s", async (_, text) => {
    await using siege = await Siege.begin();
    {
      await using attacker = await siege.attacker(uid);
      await attacker.do("make l lingering");
      await attacker.do("record");
      await attacker.try(`connect a ${siege.socket}.agent 4`);
      await attacker.try(`send a l*8 ${text}`);
      await attacker.do("make l lingering");
      await attacker.do("repeat 2");
      siege.descriptorsAreBounded();
      await siege.nobodyNoticed(() => siege.hasLogged("refused"));
    }
    await siege.nothingIsLeft();
    await siege.canBeKilledAndStarted();
  });
});
