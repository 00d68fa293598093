/** The text of /metrics. Made at most once a second, however many ask. */
import type { Metric } from "berthd";
import { Counter, Gauge, Registry } from "prom-client";
import type { BerthRow } from "../api/shapes.ts";
import { AcquireHistogram } from "./acquire-histogram.ts";
import { type ExposedFamily, exposedFamilies } from "./families.ts";

/** What is exposed besides the broker's own measurements. */
export interface WebFacts {
  readonly rows: readonly BerthRow[];
  readonly isUp: boolean;
  readonly streams: number;
  /** Undefined: none is kept. */
  readonly historyWorks: boolean | undefined;
}

const PREFIX = "io.berthd.Broker.";
/** The broker bounds how many kinds of errors it counts. This is a second bound. */
const MAX_SERIES_PER_BROKER_FAMILY = 200;

/** `metrics` is empty while the broker does not answer. */
export async function exposition(metrics: readonly Metric[], facts: WebFacts): Promise<string> {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge =>
    new Gauge({ name: `berthd_${name}`, help, labelNames: [...labelNames], registers: [registry] });
  gauge("up", "Whether the broker answers: 1, else 0.").set(facts.isUp ? 1 : 0);
  gauge("web_resident_memory_bytes", "Resident memory of this process.").set(process.memoryUsage.rss());
  gauge("web_streams", "Pages that follow what happens.").set(facts.streams);
  if (facts.historyWorks !== undefined) {
    gauge("web_history_writable", "Whether the history can be written: 1, else 0.").set(facts.historyWorks ? 1 : 0);
  }
  if (!facts.isUp) return registry.metrics();
  const state = gauge("berth_state", "1, for the word that the berth has on the status page.", ["berth", "state"]);
  const players = gauge("players", "Players of the berth's server, as it says.", ["berth"]);
  const slots = gauge("player_slots", "The most players of the berth's server, as it says.", ["berth"]);
  for (const row of facts.rows) {
    state.set({ berth: row.name, state: row.state }, 1);
    if (row.players !== null) players.set({ berth: row.name }, row.players);
    if (row.slots !== null) slots.set({ berth: row.name }, row.slots);
  }
  if (metrics.length > 0) new AcquireHistogram(metrics, registry);
  const byName = new Map<string, Metric[]>();
  for (const metric of metrics) {
    const same = byName.get(metric.name);
    if (same === undefined) byName.set(metric.name, [metric]);
    else same.push(metric);
  }
  for (const family of exposedFamilies) expose(family, byName.get(PREFIX + family.from) ?? [], registry);
  return registry.metrics();
}

function expose(family: ExposedFamily, metrics: readonly Metric[], registry: Registry): void {
  const { label, ofBerth, type, help } = family;
  const labelNames = [...(ofBerth ? ["berth"] : []), ...(label === undefined ? [] : [label.name])];
  const sums = new Map<string, { readonly labels: Record<string, string>; value: number }>();
  for (const { value, object, fields } of metrics) {
    if (typeof value !== "number") continue;
    const labels: Record<string, string> = {};
    if (ofBerth) labels["berth"] = object ?? "";
    if (label !== undefined) labels[label.name] = shortOf(fields?.[label.field] ?? "");
    const key = JSON.stringify(labels);
    const sum = sums.get(key);
    if (sum !== undefined) sum.value += value;
    else if (ofBerth || sums.size < MAX_SERIES_PER_BROKER_FAMILY) sums.set(key, { labels, value });
  }
  const options = { name: `berthd_${family.name}`, help, labelNames, registers: [registry] };
  if (type === "gauge") {
    const gauge = new Gauge(options);
    for (const { labels, value } of sums.values()) gauge.set(labels, value);
  } else {
    const counter = new Counter(options);
    for (const { labels, value } of sums.values()) counter.inc(labels, value);
  }
}

/** BerthOccupied, of io.berthd.Broker.BerthOccupied. */
function shortOf(name: string): string {
  return name.split(".").at(-1) ?? name;
}

/** Keeps the last text for a second. */
export class CachedExposition {
  readonly #make: () => Promise<string>;
  #kept: { readonly at: number; readonly text: Promise<string> } | undefined;

  constructor(make: () => Promise<string>) {
    this.#make = make;
  }

  text(): Promise<string> {
    const now = performance.now();
    if (this.#kept === undefined || now - this.#kept.at > 1_000) this.#kept = { at: now, text: this.#make() };
    return this.#kept.text;
  }
}
