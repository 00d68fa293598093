/** Closing a descriptor may take 3000 s: a TCP socket that lingers, and whose peer does not read. */
import { describe, expect, it, vi } from "vitest";
import { type Attacker, call } from "../support/attacks/attacker.ts";
import { Siege, STRANGER, TENANT } from "../support/attacks/siege.ts";
import { needs } from "../support/needs.ts";

vi.setConfig({ testTimeout: 60_000 });

const LIST = call("List");

describe.each([
  ["a stranger", STRANGER],
  ["a tenant", TENANT],
] as const)("%s", needs("root"), (_, uid) => {
  /** Sends, once it reads no replies and the broker none of its calls, what the broker will find when it closes. */
  async function leaveUnread(attacker: Attacker, kind: string): Promise<void> {
    await attacker.do(`make l ${kind}`);
    await attacker.do("buffer c 16384");
    await attacker.do(`fill c ${LIST}`);
    await attacker.do("buffer c 1000000");
    await attacker.try(`send c l ${LIST}`);
    await attacker.do("close l");
  }

  it.each(["lingering", "loaded"])("leaves a %s socket in the connection that the broker closes", async (kind) => {
    await using siege = await Siege.begin();
    {
      await using attacker = await siege.attacker(uid);
      await leaveUnread(attacker, kind);
      await siege.nobodyNoticed(() => siege.hasLogged("has not read for"));
    }
    await siege.nothingIsLeft();
  });

  it.each([LIST, undefined])("sends a lingering socket with a byte out of band, and then %s", async (after) => {
    await using siege = await Siege.begin();
    {
      await using attacker = await siege.attacker(uid);
      await attacker.do("make l lingering");
      await attacker.try("urgent c l"); // a stranger may get EPERM
      await attacker.do("close l");
      if (after !== undefined) await attacker.try(`send c - ${after}`);
      await siege.nobodyNoticed();
    }
    await siege.nobodyNoticed();
    await siege.nothingIsLeft();
  });

  it("sends more sockets that linger than the broker has threads, then as many descriptors as it takes", async () => {
    await using siege = await Siege.begin();
    {
      await using attacker = await siege.attacker(uid);
      for (let n = 0; n < 40; n++) {
        await attacker.do(`make l${n} lingering`);
        const { error } = await attacker.try(`send c l${n} ${LIST}`);
        await attacker.do(`close l${n}`);
        if (error === undefined) await attacker.try("receive c");
      }
      await attacker.do("make n lingering");
      for (let n = 0; n < 80; n++) {
        const { error } = await attacker.try(`send c n*253 ${LIST}`);
        if (error === undefined) await attacker.try("receive c");
      }
      await siege.nobodyNoticed();
      siege.descriptorsAreBounded();
    }
    await siege.nothingIsLeft();
    await siege.canBeKilledAndStarted();
  });

  it("has the broker killed and started while sockets of its linger", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(uid);
    for (let n = 0; n < 8; n++) {
      await attacker.do(`make l${n} lingering`);
      const { error } = await attacker.try(`send c l${n} ${LIST}`);
      await attacker.do(`close l${n}`);
      if (error === undefined) await attacker.try("receive c");
    }
    await leaveUnread(attacker, "lingering");
    await siege.nobodyNoticed(() => siege.hasLogged("has not read for"));
    await siege.canBeKilledAndStarted();
  });
});

it("the broker that ends closes what a tenant stashed", needs("root"), async () => {
  await using siege = await Siege.begin();
  await using attacker = await siege.attacker(TENANT);
  await attacker.do("make l lingering");
  await attacker.try(`send c l ${call("Stash", { lease: "@lease", name: "player" })}`);
  await attacker.do("close l");
  await siege.nobodyNoticed();
  siege.broker.child.kill("SIGTERM");
  expect(await siege.broker.exited).toEqual([0, null]);
});
