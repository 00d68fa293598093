/** How long Acquire took, as a histogram of Prometheus: the broker has counted already, so nothing is observed here. */
import type { Metric } from "berthd";
import { Histogram, type Registry } from "prom-client";

const PREFIX = "io.berthd.Broker.";
const NAME = "berthd_acquire_duration_seconds";

export class AcquireHistogram extends Histogram<"le"> {
  readonly #metrics: readonly Metric[];

  constructor(metrics: readonly Metric[], registry: Registry) {
    super({ name: NAME, help: "How long calls of Acquire and Launch took that were granted.", registers: [registry] });
    this.#metrics = metrics;
  }

  override async get(): ReturnType<Histogram<"le">["get"]> {
    const about = await super.get();
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
