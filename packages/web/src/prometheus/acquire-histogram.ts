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
    const numberOf = (family: string): number => {
      const found = this.#metrics.find(({ name }) => name === PREFIX + family)?.value;
      return typeof found === "number" ? found : 0;
    };
    const buckets = this.#metrics.flatMap(({ name, value, fields }) =>
      name === `${PREFIX}AcquireSecondsBucket` && typeof value === "number" && fields?.["le"] !== undefined
        ? [{ metricName: `${NAME}_bucket`, labels: { le: fields["le"] }, value }]
        : [],
    );
    const count = numberOf("Acquires");
    const hasInfinity = buckets.some(({ labels }) => labels.le === "+Inf");
    const infinity = hasInfinity ? [] : [{ metricName: `${NAME}_bucket`, labels: { le: "+Inf" }, value: count }];
    return {
      ...about,
      values: [
        ...buckets,
        ...infinity,
        { metricName: `${NAME}_sum`, labels: {}, value: numberOf("AcquireSecondsSum") },
        { metricName: `${NAME}_count`, labels: {}, value: count },
      ],
    };
  }
}
