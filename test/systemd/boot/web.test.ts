/** The status page as an operator has it: docs/web.md's steps, a berth and a user of its own, through systemd. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BerthDetail, Overview, Timeline } from "../../../packages/web/src/api/shapes.ts";
import { packageRoot } from "../../../src/native.ts";
import { bootMachine, MACHINE, type Machine, NODE, PACKAGE } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

const arena = `[sockets.game]
listen = ["udp://127.0.0.1:7300"]
[server]
user = "nobody"
command = ["sleep", "1000"]
`;

describe("examples/web.toml under systemd", { ...needs(...MACHINE), timeout: 120_000 }, () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      files: {
        // As npm would link it.
        "/usr/local/bin/berth-web": `#!/bin/sh\nexec ${NODE} ${PACKAGE}/packages/web/dist/server/main.js "$@"\n`,
        "/etc/berthd/arena.toml": arena,
        "/etc/berthd/web.toml": readFileSync(join(packageRoot, "examples/web.toml")),
      },
    });
    await machine.sh(
      [
        "chmod 755 /usr/local/bin/berth-web",
        "useradd --system --create-home --home-dir /var/lib/berth-web --shell /usr/sbin/nologin berth-web",
        "berth units install && systemctl daemon-reload && systemctl start berthd.socket",
        "mkdir -p /etc/systemd/system/berthd.service.d",
        "start=$(systemctl cat berthd | grep '^ExecStart=.' | tail -n 1)",
        `printf '[Service]\\nExecStart=\\n%s --observer berth-web\\n' "$start" >/etc/systemd/system/berthd.service.d/options.conf`,
        "systemctl daemon-reload && systemctl restart berthd",
        "berth enable --now web",
        "berth start arena",
      ].join("\n"),
    );
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const get = (path: string): Promise<string> =>
    machine.ok([
      NODE,
      "-e",
      "fetch(process.argv[1]).then(async (r) => (r.ok ? r.text() : Promise.reject(await r.text()))).then(console.log)",
      `http://127.0.0.1:9115${path}`,
    ]);
  const overview = async (): Promise<Overview> => JSON.parse(await get("/api/v1/overview")) as Overview;
  const detail = async (name: string): Promise<BerthDetail> => {
    const [host] = (await overview()).hosts;
    return JSON.parse(await get(`/api/v1/berths/${host?.id}/${name}`)) as BerthDetail;
  };

  test("shows each berth to a user who has no privilege and may take none but its own", async () => {
    const { MainPID = "" } = await machine.show("berth@web.service", "MainPID");
    const status = await machine.ok(["cat", `/proc/${MainPID}/status`]);
    const uid = (await machine.ok(["id", "-u", "berth-web"])).trim();
    expect(/^Uid:\s+(\d+)/m.exec(status)?.[1]).toBe(uid);
    expect(/^CapEff:\s+(\w+)/m.exec(status)?.[1]).toBe("0000000000000000");
    expect(await get("/healthz")).toMatch(/ok/);
    expect(await get("/")).toContain("<title>");
    await expect
      .poll(async () => (await overview()).berths.map(({ name }) => name), { timeout: 30_000 })
      .toEqual(["arena", "web"]);
    expect(await detail("arena")).toMatchObject({ name: "arena", state: "serving" });
    expect(await get("/metrics")).toMatch(/^berthd_berth_\w+\{.*berth="arena".*\} /m);
    const taken = await machine.run(["setpriv", `--reuid=${uid}`, "--clear-groups", "berth", "run", "arena", "true"]);
    expect([taken.code, taken.stderr]).toEqual([1, expect.stringContaining("arena")]);
  });

  test("shows a server that was stopped, and remembers what was after it was killed itself", async () => {
    const [host] = (await overview()).hosts;
    const kinds = async (): Promise<unknown> => {
      const { events } = JSON.parse(await get(`/api/v1/berths/${host?.id}/arena/timeline`)) as Timeline;
      return events.map(({ kind }) => kind);
    };
    await machine.ok(["systemctl", "kill", "--signal=KILL", "berth@web"]);
    await machine.ok(["berth", "stop", "arena"]);
    await expect.poll(async () => (await machine.run(["berth", "start", "web"])).code, { timeout: 30_000 }).toBe(0);
    await expect
      .poll(async () => (await detail("arena").catch(() => undefined))?.state, { timeout: 30_000 })
      .toBe("vacant");
    await machine.ok(["berth", "start", "arena"]);
    await expect.poll(async () => (await detail("arena")).state, { timeout: 30_000 }).toBe("serving");
    await expect.poll(kinds, { timeout: 30_000 }).toContain("lease");
    expect(await machine.ok(["sh", "-c", "stat -c %U /var/lib/berth-web/history.db"])).toBe("berth-web\n");
  });
});
