/** The methods of io.systemd.Metrics. A caller sees the berths that it sees in io.berthd.Broker.List. */
import { stateOf } from "../../berth-state.ts";
import type { Native } from "../../native.ts";
import { metricsInterface } from "../../varlink/interfaces/io.systemd.Metrics.ts";
import type { MetricsMethods } from "../../varlink/interfaces/io.systemd.Metrics.types.ts";
import { type Implementation, type Later, type Methods, refuse } from "../../varlink/service.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import type { Berths } from "../berths/berths.ts";
import type { BrokerCounts } from "../counts/broker-counts.ts";
import type { Session } from "../session/session.ts";
import { type AcceptQueue, AcceptQueues } from "./accept-queues.ts";
import { countEvents } from "./count-events.ts";
import { described, listed } from "./families.ts";
import { GroupUses } from "./group-use.ts";
import { measureBerth } from "./measure-berth.ts";
import { type BrokerMeasuring, countDescriptors, measureBroker } from "./measure-broker.ts";
import { sendAll } from "./send-all.ts";
import { Slices } from "./slices.ts";

export interface MetricsContext {
  readonly berths: Berths;
  readonly events: BerthEvents;
  readonly sys: Native;
  readonly counts: BrokerCounts;
  readonly maxFds: number;
  /** The connections that are open. */
  readonly listener: { readonly sessions: ReadonlySet<Session> };
  readonly watchers: { readonly size: number };
  readonly interceptions: { readonly size: number };
}

type Reply = MetricsMethods["List"]["reply"];

/** The interface, for a {@link Service}. From now on events of berths are counted. */
export function metricsMethods(context: MetricsContext): Implementation<Session> {
  const { berths, events, sys } = context;
  const slices = new Slices();
  const acceptQueues = new AcceptQueues(sys);
  const groupUses = new GroupUses();
  const startedAt = performance.now();
  countEvents(
    events,
    berths.all().filter(({ lease }) => lease !== undefined),
  );

  function* measure(session: Session, queues: ReadonlyMap<number, AcceptQueue>, open?: number): Generator<Reply> {
    const states = new Map<string, number>();
    const measuring = { sys, acceptQueues: queues, groupUses };
    for (const berth of berths.list()) {
      // The configuration can change between two slices.
      if (berths.get(berth.name) !== berth || !berths.visibility.sees(berth, session)) continue;
      const state = stateOf(berth.view());
      states.set(state, (states.get(state) ?? 0) + 1);
      for (const one of measureBerth(berth, state, measuring)) yield listed(one);
    }
    const broker: BrokerMeasuring = {
      counts: context.counts,
      startedAt,
      maxFds: context.maxFds,
      delay: slices.delay,
      berths: states,
      connections: context.listener.sessions.size,
      watchers: context.watchers.size,
      bindServers: context.interceptions.size,
      openDescriptors: open,
    };
    for (const one of measureBroker(broker)) yield listed(one);
  }

  const list = (session: Session): Later | ReturnType<typeof refuse> => {
    // A caller that may see no berth is refused before anything is measured.
    if (!session.privileged && !berths.list().some((berth) => berths.visibility.sees(berth, session)))
      return refuse("io.systemd.Metrics.NoSuchMetric");
    return (reply) =>
      void Promise.all([acceptQueues.read(), countDescriptors()]).then(([queues, open]) =>
        sendAll(session, measure(session, queues, open), slices, reply),
      );
  };

  return {
    text: metricsInterface,
    methods: {
      List: { streams: true, handle: list },
      Describe: {
        streams: true,
        handle: (session) => (reply) => sendAll(session, described().values(), slices, reply),
      },
    } satisfies Methods<Session, MetricsMethods>,
  };
}
