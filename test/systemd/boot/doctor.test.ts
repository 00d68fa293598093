/** `berth doctor` on a booted systemd: what it says of the units, and that its remedies work when pasted. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Finding } from "../../../src/cli/doctor/finding.ts";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

describe("berth doctor on a booted systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    const berth = '[sockets.game]\nlisten = ["udp://127.0.0.1:154"]\n[server]\nuser = "nobody"\n';
    machine = await bootMachine({ files: { "/etc/berthd/arena.toml": berth } });
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  /** What it says of the units and of the broker, but for what is fine. */
  async function wrong(): Promise<Finding[]> {
    const { findings } = JSON.parse((await machine.run(["berth", "doctor", "--json"])).stdout) as {
      findings: Finding[];
    };
    return findings.filter(({ check, level }) => level !== "fine" && (check === "units" || check === "broker"));
  }

  async function mend(check: string): Promise<void> {
    const remedy = (await wrong()).find((finding) => finding.check === check)?.remedy;
    await machine.sh(remedy ?? "false");
  }

  test("without units it has them installed, and then nothing is wrong with them", async () => {
    expect(await wrong()).toMatchObject([
      { check: "units", level: "advice" },
      { check: "broker", level: "problem" },
    ]);
    await mend("units");
    expect(await wrong()).toEqual([]);
    expect((await machine.run(["berth", "doctor"])).stdout).toMatch(/units are installed and current\n/);
  });

  test("a unit of an older version, and one that systemd has not read", async () => {
    await machine.sh("echo '# older' >>/etc/systemd/system/berthd.service");
    const found = await wrong();
    expect(found.map(({ message }) => message)).toEqual([
      "another version of berth wrote berthd.service",
      "the file of berthd.service has changed",
    ]);
    await mend("units");
    expect(await wrong()).toEqual([]);
  });

  test("a unit whose program is gone", async () => {
    await machine.sh("sed -i 's,^ExecStart=[^ ]*,ExecStart=/opt/gone/node,' /etc/systemd/system/berthd.service");
    expect((await wrong())[0]?.message).toBe("the unit berthd.service starts /opt/gone/node, which is not there");
    await mend("units");
    expect(await wrong()).toEqual([]);
  });

  test("a socket that does not listen", async () => {
    await machine.sh("systemctl disable --now berthd.socket");
    expect(await wrong()).toMatchObject([
      { message: "the unit berthd.socket does not listen" },
      { check: "broker", level: "problem", remedy: "systemctl enable --now berthd.socket" },
    ]);
    await mend("broker");
    expect(await wrong()).toEqual([]);
  });
});
