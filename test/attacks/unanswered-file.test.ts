/** A file of a FUSE mount, whose program never answers: whoever looks at it or closes it waits, beyond SIGKILL. */
import { describe, expect, it, vi } from "vitest";
import { call } from "../support/attacks/attacker.ts";
import { Siege, STRANGER, TENANT } from "../support/attacks/siege.ts";
import { type FuseRequest, StuckFuse } from "../support/attacks/stuck-fuse.ts";
import { needs } from "../support/needs.ts";

vi.setConfig({ testTimeout: 60_000 });

const LIST = call("List");
const STASH = call("Stash", { lease: "@lease", name: "state" });

describe.each([
  ["a stranger", STRANGER],
  ["a tenant", TENANT],
] as const)("%s", needs("root"), (_, uid) => {
  const cases: [FuseRequest, string, string][] = [
    ["FLUSH", "with a call that takes none", LIST],
    ["GETATTR", "with a call that takes none", LIST],
    ["FLUSH", "as a stash", STASH],
    ["GETATTR", "as a stash", STASH],
    ["STATFS", "as a stash", STASH],
  ];
  describe.each(cases)("sends a file", (request, where, text) => {
    it(`that never answers ${request}, ${where}`, async () => {
      await using siege = await Siege.begin();
      await using attacker = await siege.attacker(uid);
      await using fuse = await StuckFuse.mount();
      await attacker.do(`make f open ${fuse.file}`);
      await fuse.withhold(request);
      for (let n = 0; n < 4; n++) {
        const { error } = await attacker.try(`send c f ${text}`);
        if (error === undefined) await attacker.try("receive c");
      }
      await siege.nobodyNoticed();
      siege.descriptorsAreBounded();
      await siege.canBeKilledAndStarted();
    });
  });

  it("leaves a file that never answers in the connection that the broker closes", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(uid);
    await using fuse = await StuckFuse.mount();
    await attacker.do(`make f open ${fuse.file}`);
    await fuse.withhold("FLUSH", "RELEASE", "GETATTR");
    await attacker.do("buffer c 16384");
    await attacker.do(`fill c ${LIST}`);
    await attacker.do("buffer c 1000000");
    await attacker.try(`send c f ${LIST}`);
    await siege.nobodyNoticed(() => siege.hasLogged("has not read for"));
    await siege.canBeKilledAndStarted();
  });
});

it("a file that stops answering after it was stashed is the tenant's loss", needs("root"), async () => {
  await using siege = await Siege.begin();
  await using attacker = await siege.attacker(TENANT);
  await using fuse = await StuckFuse.mount();
  await attacker.do(`make f open ${fuse.file}`);
  await attacker.try(`send c f ${STASH}`);
  const stashed = await attacker.do("receive c");
  await fuse.withhold("FLUSH", "GETATTR", "STATFS");
  await attacker.call("c", "Release", { lease: "@lease" });
  await attacker.call("c", "Acquire", { berth: "prey" });
  await siege.nobodyNoticed();
  await siege.canBeKilledAndStarted();
  expect(stashed).toContain('"error"');
});
