/** docs/systemd.md, followed to the letter on a booted systemd. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blocks, read, section } from "../../docs/markdown.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { ask, inodesAt } from "../../support/machine-net.ts";
import { needs } from "../../support/needs.ts";

const page = read("docs/systemd.md");

describe("docs/systemd.md", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine();
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  /** Runs the blocks of a section; what the last one printed. */
  async function follow(heading: string): Promise<string> {
    let printed = "";
    const steps = blocks(section(page, heading), "sh");
    expect(steps.length).toBeGreaterThan(0);
    for (const step of steps) printed = await machine.sh(step);
    return printed;
  }

  const answers = async (port: number): Promise<string> =>
    (await ask(machine, "tcp", port, "BZFLAG\r\n\r\n", 9)).toString("latin1").slice(0, 4);

  async function limitsOf(name: string): Promise<{ memory: string | undefined; as: string | undefined; uid: string }> {
    const { MainPID, MemoryMax } = await machine.show(`berth@${name}`, "MainPID", "MemoryMax");
    const as = /^Max address space +(\S+)/m.exec(machine.read(`/proc/${MainPID}/limits`))?.[1];
    return { memory: MemoryMax, as, uid: (await machine.ok(["ps", "-o", "user:32=", "-p", MainPID ?? ""])).trim() };
  }

  test("three instances of one game have ports, users and memory limits of their own", async () => {
    const printed = await follow("## Three instances of one game");
    for (const [team, port] of [
      ["red", 5154],
      ["green", 5155],
      ["blue", 5156],
    ] as const) {
      const row = (user: string): RegExp =>
        new RegExp(`^arena@${team} +occupied +\\d+ +${user} +game=tcp://0.0.0.0:${port}$`, "m");
      expect(printed).toMatch(row("\\S+"));
      // The launcher takes the berth as root, and becomes the server's user soon after.
      const isItself = async (): Promise<boolean> => row(`arena-${team}`).test(await machine.ok(["berth", "ls"]));
      await machine.waitFor("its user", isItself);
      expect(await answers(port)).toBe("BZFS");
    }
    const mega = 1024 * 1024;
    expect(await limitsOf("arena@red")).toEqual({ memory: `${128 * mega}`, as: "unlimited", uid: "arena-red" });
    expect(await limitsOf("arena@green")).toEqual({ memory: `${256 * mega}`, as: "unlimited", uid: "arena-green" });
    expect(await limitsOf("arena@blue")).toEqual({ memory: `${512 * mega}`, as: "unlimited", uid: "arena-blue" });
  });

  test("one is changed, and the others keep their sockets and their servers", async () => {
    const others = async (): Promise<unknown> => [
      await inodesAt(machine, 5154),
      await inodesAt(machine, 5155),
      await machine.show("berth@arena@red", "MainPID"),
      await machine.show("berth@arena@green", "MainPID"),
    ];
    const before = await others();
    await follow("## Change one, leave the others alone");
    expect(await answers(6000)).toBe("BZFS");
    expect(await inodesAt(machine, 5156)).toEqual([]);
    expect(await limitsOf("arena@blue")).toMatchObject({ as: String(2 ** 31), uid: "arena-blue" });
    expect(await others()).toEqual(before);
    expect(await answers(5154)).toBe("BZFS");
  });

  test("a server has a user that systemd made up, and its berth by the name of its unit", async () => {
    await follow("## A server without a user of its own");
    expect(await answers(6100)).toBe("BZFS");
    expect((await limitsOf("guest")).uid).toBe("guest");
  });

  test("a broker without roots does with less", async () => {
    const before = [await inodesAt(machine, 5154), await machine.show("berth@arena@red", "MainPID")];
    await follow("### What the broker may do");
    expect([await inodesAt(machine, 5154), await machine.show("berth@arena@red", "MainPID")]).toEqual(before);
    expect(await machine.ok(["berth", "ls"])).toMatch(/^arena@red +occupied/m);
    expect(await machine.show("berthd.service", "ActiveState")).toEqual({ ActiveState: "active" });
    expect(await answers(5154)).toBe("BZFS");
  });
});
