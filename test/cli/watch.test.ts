import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { spawnBroker } from "../support/broker.ts";
import { berth, berths, fakeBroker, Lines, start } from "./support.ts";

describe("berth watch", () => {
  test("prints a line for each event, until Ctrl-C ends it with 0", async () => {
    await using broker = await spawnBroker(berths);
    const env = { BERTHD_SOCKET: broker.socket };
    const watch = start(["watch", "lobby"], env);
    const lines = new Lines(watch.stdout);
    expect(await lines.find(() => true)).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}present {3}lobby$/);
    const tenant = start(["run", "lobby"], env);
    expect(await lines.find(() => true)).toMatch(new RegExp(`  acquired  lobby  ${tenant.pid}$`));
    tenant.kill("SIGKILL");
    expect(await lines.find(() => true)).toMatch(/ {2}released {2}lobby$/);
    watch.kill("SIGINT");
    expect(await once(watch, "close")).toEqual([0, null]);
  });

  test("--json prints an object on each line, of every berth where none is named", async () => {
    await using broker = await spawnBroker(berths);
    const watch = start(["watch", "--json", "--socket", broker.socket]);
    const lines = new Lines(watch.stdout);
    for (const name of ["arena@alice", "arena@bob", "lobby"]) {
      const event = JSON.parse(await lines.find(() => true));
      expect(event).toMatchObject({ event: "present", berth: { name, state: "vacant" } });
      expect(Date.parse(event.time)).not.toBeNaN();
    }
    watch.kill("SIGTERM");
    expect(await once(watch, "close")).toEqual([0, null]);
  });

  test("ends with a sentence and 111 when the broker goes away", async () => {
    await using broker = await spawnBroker(berths);
    const watch = start(["watch", "--socket", broker.socket]);
    await new Lines(watch.stdout).find((line) => line.endsWith("lobby"));
    let said = "";
    watch.stderr.on("data", (chunk) => {
      said += chunk;
    });
    broker.child.kill("SIGKILL");
    expect(await once(watch, "close")).toEqual([111, null]);
    expect(said).toMatch(/^berth: the broker closed the connection.*\n$/);
  });

  test("ends with 0 when its reader goes away", async () => {
    await using broker = await spawnBroker(berths);
    const watch = start(["watch", "--socket", broker.socket]);
    await new Lines(watch.stdout).find((line) => line.endsWith("lobby"));
    watch.stdout.destroy();
    const ended = once(watch, "close");
    const tenant = start(["run", "lobby", "--", "true"], { BERTHD_SOCKET: broker.socket });
    await once(tenant, "close");
    expect(await ended).toEqual([0, null]);
  });

  test("says so when the broker will not be watched", async () => {
    await using broker = await fakeBroker([
      { error: "org.varlink.service.PermissionDenied", parameters: { message: "no" } },
    ]);
    expect(await berth(["watch", "--socket", broker.socket])).toEqual({ code: 1, stdout: "", stderr: "berth: no\n" });
  });
});
