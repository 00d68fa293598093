/** `berth upgrade` on a booted systemd: units that get a new image, one whose server fails, a server without a unit. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

const tower = `[sockets.game]
listen = ["udp://127.0.0.1:27961"]
[root]
image = "tower"
[server]
user = "range"
command = ["/bin/sh", "{root}/run"]
`;
const UNIT = "berth@tower.service";

describe("berth upgrade on a booted systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      files: {
        "/etc/berthd/tower.toml": tower,
        "/srv/tower/one/run": "exec sleep 1000\n",
        "/srv/tower/two/run": "exec sleep 1001\n",
        "/srv/tower/bad/run": "exit 3\n",
      },
    });
    await machine.sh("berth units install && systemctl daemon-reload && systemctl start berthd.socket");
    for (const version of ["two", "bad", "one"])
      await machine.sh(`berth image import tower /srv/tower/${version} --version ${version}`);
    await machine.sh("berth image use tower@one && berth start tower");
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const mainPid = async (): Promise<number> => Number((await machine.show(UNIT, "MainPID"))["MainPID"]);
  /** What the berth's server is, and what it runs. */
  const served = async (): Promise<{ pid: number; unit: string; images: readonly string[]; runs: string }> => {
    const { lease, root } = JSON.parse(await machine.ok(["berth", "show", "--json", "tower"]));
    const runs = await machine.ok(["ps", "-o", "args=", "-p", String(lease.pid)]);
    return { pid: lease.pid, unit: lease.unit, images: root.images, runs: runs.trim() };
  };

  test("the unit is drained, and then runs the new version", async () => {
    const before = await mainPid();
    const said = await machine.ok(["berth", "upgrade", "--image", "tower@two", "--deadline", "1s", "tower"]);
    const pid = await mainPid();
    expect(said).toBe(`tower: upgraded to pid ${pid} (${UNIT}), tower@two\n`);
    expect(pid).not.toBe(before);
    expect(await served()).toEqual({ pid, unit: UNIT, images: ["tower@two"], runs: "sleep 1001" });
    expect(await machine.ok(["berth", "upgrade", "tower"])).toBe(`tower: pid ${pid} is of the present version\n`);
  }, 120_000);

  test("the unit of a version that fails runs the old one again, and systemd restarts nothing else", async () => {
    const { code, stdout, stderr } = await machine.run([
      ...["berth", "upgrade", "--image", "tower@bad", "--now", "tower"],
    ]);
    const pid = await mainPid();
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toMatch(/^berth: the new version of berth tower does not serve: .* ended .*; tower@two runs again/);
    expect(stderr).toContain(`; tower@two runs again, as pid ${pid}, and is the current version\n`);
    expect(await served()).toEqual({ pid, unit: UNIT, images: ["tower@two"], runs: "sleep 1001" });
    expect(await machine.show(UNIT, "ActiveState", "SubState")).toEqual({ ActiveState: "active", SubState: "running" });
  }, 120_000);

  test("a server that systemd did not start goes on, since nothing would start it again", async () => {
    await machine.sh("berth stop tower && setsid -f berth run tower </dev/null >/dev/null 2>&1");
    const pid = await machine.waitFor("the server", async () => {
      const { code, stdout } = await machine.run(["pgrep", "-x", "-f", "sleep 1001"]);
      return code === 0 ? Number(stdout) : undefined;
    });
    expect(await machine.run(["berth", "upgrade", "--force", "--now", "tower"])).toMatchObject({
      code: 111,
      stderr: `berth: pid ${pid} of berth tower is not ${UNIT}: berth drain --watch tower, then start it as before\n`,
    });
    expect(await served()).toMatchObject({ pid, runs: "sleep 1001" });
    await machine.ok(["berth", "stop", "tower"]);
  }, 120_000);
});
