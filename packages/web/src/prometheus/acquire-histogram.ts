/** How long Acquire took, as a histogram of Prometheus: the broker has counted already, so nothing is observed here. */
import type { Metric } from "berthd";
import { Gauge, Histogram, type Registry } from "prom-client";

const PREFIX = "io.berthd.Broker.";
const NAME = "berthd_acquire_duration_seconds";

/** A Gauge to the registry: that asks a Histogram for its own observations, past {@link get}. */
export class AcquireHistogram extends Gauge<"le"> {
  readonly #metrics: readonly Metric[];
  readonly #about: Histogram<"le">;

  constructor(metrics: readonly Metric[], registry: Registry) {
    const about = { name: NAME, help: "How long calls of Acquire and Launch took that were granted." };
    super({ ...about, registers: [registry] });
    this.#about = new Histogram({ ...about, registers: [] });
    this.#metrics = metrics;
  }

  override async get(): ReturnType<Histogram<"le">["get"]> {
    const about = await this.#about.get();
    const sum = this.#metrics.find(({ name }) => name === `${PREFIX}AcquireSecondsSum`)?.value;
    const buckets = this.#metrics.flatMap(({ name, value, fields }) =>
      name === `${PREFIX}AcquireSecondsBucket` && typeof value === "number" && fields?.["le"] !== undefined
        ? [{ metricName: `${NAME}_bucket`, labels: { le: fields["le"] }, value }]
        : [],
    );
    // Not the family Acquires: that also counts calls whose time is not taken.
    const count = buckets.find(({ labels }) => labels.le === "+Inf")?.value ?? 0;
    return {
      ...about,
      values: [
        ...buckets,
        { metricName: `${NAME}_sum`, labels: {}, value: typeof sum === "number" ? sum : 0 },
        { metricName: `${NAME}_count`, labels: {}, value: count },
      ],
    };
  }
}
