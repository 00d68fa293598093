/** /metrics, the alerts and the dashboard, by Debian's Prometheus. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { exposition } from "../../packages/web/src/prometheus/exposition.ts";
import { exposedFamilies } from "../../packages/web/src/prometheus/families.ts";
import { described } from "../../src/broker/metrics/families.ts";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { ask, startWeb, type WebProcess } from "../support/web/web-process.ts";
import { endsWithTest } from "../support/wrap.ts";

const examples = join(packageRoot, "examples/prometheus");
const user = process.getuid?.() === 0 ? 'user = "nobody"' : "";
const files = {
  "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]\n[server]\ncommand = ["true"]\n${user}\n`,
  "lazy.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n[server]\ncommand = ["true"]\n${user}\nstart = "on-demand"\n`,
};

it("each metric is made of a family that the broker has, and each counter is called one", () => {
  const types = new Map(described().map(({ name, type }) => [name.replace("io.berthd.Broker.", ""), type]));
  expect(exposedFamilies.filter(({ from, type }) => types.get(from) !== type)).toEqual([]);
  expect(exposedFamilies.filter(({ name, type }) => name.endsWith("_total") !== (type === "counter"))).toEqual([]);
});

it("values of one berth are added up, and a broker that is away is told as such", async () => {
  const of = (name: string, value: number, fields: Record<string, string>) => {
    return { name: `io.berthd.Broker.${name}`, value, object: 'a"b', fields };
  };
  const facts = { rows: [], isUp: true, streams: 2, historyWorks: undefined };
  const text = await exposition(
    [of("Drops", 3, { socket: "game", address: "x" }), of("Drops", 4, { socket: "game", address: "y" })],
    facts,
  );
  expect(text).toContain('berthd_dropped_datagrams_total{berth="a\\"b"} 7\n');
  const away = await exposition([], { ...facts, isUp: false });
  expect(away).toContain("berthd_up 0");
  expect(away).not.toContain("berthd_leases_total");
});

it("the broker's histogram is passed on as it is", async () => {
  const of = (name: string, value: number, le?: string) => {
    return { name: `io.berthd.Broker.${name}`, value, ...(le !== undefined && { fields: { le } }) };
  };
  const metrics = [
    ...[of("AcquireSecondsBucket", 2, "0.001"), of("AcquireSecondsBucket", 5, "+Inf")],
    ...[of("AcquireSecondsSum", 0.25), of("Acquires", 7)],
  ];
  const text = await exposition(metrics, { rows: [], isUp: true, streams: 0, historyWorks: undefined });
  const lines = text.split("\n").filter((line) => line.includes("berthd_acquire"));
  expect(lines.slice(1)).toEqual([
    "# TYPE berthd_acquire_duration_seconds histogram",
    'berthd_acquire_duration_seconds_bucket{le="0.001"} 2',
    'berthd_acquire_duration_seconds_bucket{le="+Inf"} 5',
    "berthd_acquire_duration_seconds_sum 0.25",
    "berthd_acquire_duration_seconds_count 5",
    "# HELP berthd_acquires_total Calls of Acquire and Launch that were granted.",
    "# TYPE berthd_acquires_total counter",
    "berthd_acquires_total 7",
  ]);
});

describe("with Debian's Prometheus", needs("prometheus", "promtool"), () => {
  let broker: BrokerProcess;
  let web: WebProcess;
  beforeAll(async () => {
    broker = await spawnBroker(files);
    web = await startWeb(broker.socket);
    await vi.waitFor(async () => expect((await ask(web, "/metrics")).body).toContain("berthd_up 1"), 30_000);
  }, 60_000);
  afterAll(async () => {
    await web?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  const promtool = (args: readonly string[], input = "", cwd = packageRoot) => {
    const { status, stdout, stderr } = spawnSync(pathOf("promtool"), args, { input, cwd, encoding: "utf8" });
    return { status, said: `${stdout}${stderr}` };
  };

  it("the metrics have names and units as they should (promtool check metrics)", async () => {
    const { body, headers } = await ask(web, "/metrics");
    expect(headers["content-type"]).toContain("version=0.0.4");
    expect(promtool(["check", "metrics"], body)).toEqual({ status: 0, said: "" });
    const names = new Set([...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    expect(exposedFamilies.filter(({ name }) => !names.has(`berthd_${name}`))).toEqual([]);
    const labels = new Set([...body.matchAll(/[{,]([a-z_]+)="/g)].map(([, label]) => label));
    expect([...labels].filter((label) => !["berth", "reason", "result", "state", "le"].includes(label ?? ""))).toEqual(
      [],
    );
    expect(promtool(["check", "metrics"], "# TYPE berthd_x counter\nberthd_x 1\n").status).not.toBe(0);
  });

  it("the alerts ring when they should, and use metrics that there are", async () => {
    expect(promtool(["check", "rules", join(examples, "alerts.yml")]).status).toBe(0);
    using folder = new TestFolder();
    copyFileSync(join(examples, "alerts.yml"), join(folder.path, "alerts.yml"));
    copyFileSync(join(packageRoot, "test/fixtures/alerts-test.yml"), join(folder.path, "test.yml"));
    const { status, said } = promtool(["test", "rules", "test.yml"], "", folder.path);
    expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
    const alerts = readFileSync(join(examples, "alerts.yml"), "utf8");
    const rung = readFileSync(join(packageRoot, "test/fixtures/alerts-test.yml"), "utf8");
    for (const [, name] of alerts.matchAll(/alert: (\w+)/g)) expect(rung).toContain(name);
  });

  it("alerts and dashboard name no metric that is not exposed", async () => {
    const { body } = await ask(web, "/metrics");
    const exposed = new Set([...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    for (const name of ["web_history_writable"]) exposed.add(`berthd_${name}`); // with --history
    for (const file of ["alerts.yml", "grafana-dashboard.json"]) {
      const used = readFileSync(join(examples, file), "utf8").match(/\bberthd_\w+/g) ?? [];
      expect(used.length).toBeGreaterThan(5);
      expect(used.filter((name) => !exposed.has(name.replace(/_bucket$/, "")))).toEqual([]);
    }
  });

  it("a real Prometheus scrapes them, and answers a question about a berth", { timeout: 60_000 }, async () => {
    using folder = new TestFolder({
      "prometheus.yml": `global: { scrape_interval: 1s }\nscrape_configs:\n- job_name: berthd\n  static_configs: [{ targets: ["127.0.0.1:${web.port}"] }]\n`,
    });
    const port = await freePort();
    const [command = "", ...rest] = [...endsWithTest, pathOf("prometheus")];
    const args = [
      `--config.file=${join(folder.path, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder.path, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    const child = spawn(command, [...rest, ...args], { stdio: "ignore" });
    const closed = once(child, "close");
    try {
      const query = encodeURIComponent('berthd_berth_state{berth="lazy",state="asleep"}');
      const value = async () => {
        const { body } = await ask({ port }, `/api/v1/query?query=${query}`);
        return JSON.parse(body).data.result[0]?.value[1];
      };
      await vi.waitFor(async () => expect(await value()).toBe("1"), { timeout: 40_000, interval: 250 });
    } finally {
      child.kill("SIGKILL");
      await closed;
    }
  });
});
