/** The raw client with the calls that have typed results: what a program that shows berths needs. It takes no berth. */
import { BerthError } from "../errors.ts";
import { VarlinkClient } from "../varlink/client.ts";
import { parseInterface } from "../varlink/idl.ts";
import { brokerInterface } from "../varlink/interfaces/io.berthd.Broker.ts";
import type { Berth, BrokerMethods, Draining } from "../varlink/interfaces/io.berthd.Broker.types.ts";
import { metricsInterface } from "../varlink/interfaces/io.systemd.Metrics.ts";
import type { Parameters } from "../varlink/message.ts";
import { compileReply } from "../varlink/validate.ts";
import type { WaitOptions } from "../wait-options.ts";

/** One reply of Watch: what happened, and the berth as it is now. */
export interface BerthEventRecord {
  /** As docs/protocol.md lists them: `present`, `acquired`, … */
  readonly event: string;
  readonly berth: Berth;
}

/** One measurement. Values of one family differ by `object`, the berth's name, and by `fields`. */
export interface Metric {
  /** As `io.berthd.Broker.Leases`. docs/metrics.md lists them. */
  readonly name: string;
  readonly value: number | string;
  /** Absent if it is about the broker. */
  readonly object?: string | null | undefined;
  readonly fields?: Readonly<Record<string, string>> | null | undefined;
}

/** What the values of one name are. */
export interface MetricFamily {
  readonly name: string;
  readonly description: string;
  readonly type: "counter" | "gauge" | "string";
}

/** Who plays on a berth, for {@link BrokerClient.report}. */
export interface PlayersReport {
  /** How many play, and how many can. Absent: nobody knows. */
  readonly players?: number | undefined;
  readonly max?: number | undefined;
  /** What the server calls itself, and its map: at most 128 characters, none of them a control character. */
  readonly name?: string | undefined;
  readonly map?: string | undefined;
}

/** What a server says, for {@link BrokerClient.speak}. Absent: nothing about that. */
export interface Speech {
  /** It is serving. */
  readonly ready?: true | undefined;
  /** For people: at most 128 characters, none of them a control character. Empty: nothing any more. */
  readonly status?: string | undefined;
  /** How many play, and how many can. */
  readonly players?: number | undefined;
  readonly max?: number | undefined;
  /** stop: it wants to be stopped. abort: it hangs, and gets SIGABRT. */
  readonly end?: "stop" | "abort" | undefined;
}

/** For {@link BrokerClient.drain}. */
export interface DrainOptions extends WaitOptions {
  /** In how many seconds the server is stopped at the latest. Without it: only when nobody plays. */
  readonly within?: number | undefined;
}

const broker = parseInterface(brokerInterface);
const metrics = parseInterface(metricsInterface);
// A newer broker may tell more than this version knows.
const problems = {
  list: compileReply(broker, "List", "ignore"),
  watch: compileReply(broker, "Watch", "ignore"),
  drain: compileReply(broker, "Drain", "ignore"),
  cancelDrain: compileReply(broker, "CancelDrain", "ignore"),
  metric: compileReply(metrics, "List", "ignore"),
  family: compileReply(metrics, "Describe", "ignore"),
};

/** The connection that `connect()` makes. Streams need one of their own: leaving their loop early closes it. */
export class BrokerClient extends VarlinkClient {
  /** The berths that this user may see. Throws PROTOCOL_ERROR if the reply is not of the interface. */
  async berths({ signal }: WaitOptions = {}): Promise<readonly Berth[]> {
    using reply = await this.call("io.berthd.Broker.List", {}, { signal });
    const { parameters } = reply;
    assertFits<BrokerMethods["List"]["reply"]>("List", problems.list(parameters), parameters);
    return parameters.berths;
  }

  /**
   * What happens to these berths: first `present` for each, then each event. It ends only with the connection, and
   * throws CONNECTION_CLOSED then.
   */
  async *watch({ signal }: WaitOptions = {}): AsyncGenerator<BerthEventRecord, void, void> {
    for await (const { parameters } of this.stream("io.berthd.Broker.Watch", {}, { signal })) {
      assertFits<BerthEventRecord>("Watch", problems.watch(parameters), parameters);
      yield parameters;
    }
  }

  /**
   * The measurements of the broker and of these berths, as they are now (io.systemd.Metrics). Throws RefusedError
   * `io.systemd.Metrics.NoSuchMetric` if this user may see no berth.
   */
  async *metrics({ signal }: WaitOptions = {}): AsyncGenerator<Metric, void, void> {
    for await (const { parameters } of this.stream("io.systemd.Metrics.List", {}, { signal })) {
      assertFits<Metric>("io.systemd.Metrics.List", problems.metric(parameters) ?? unfit(parameters), parameters);
      yield parameters;
    }
  }

  /**
   * Reports who plays on a berth, as an observer of it. Nothing in the report: nobody knows any more. Throws
   * RefusedError `org.varlink.service.PermissionDenied`, and `io.berthd.Broker.BerthVacant` if it has no tenant.
   */
  async report(berth: string, players: PlayersReport = {}, { signal }: WaitOptions = {}): Promise<void> {
    (await this.call("io.berthd.Broker.Report", { berth, ...players }, { signal }))[Symbol.dispose]();
  }

  /**
   * Speaks for the server of a berth, as the program that serves its SDK: `lease` is the id of its lease. It does not
   * wait for an end. Throws RefusedError `org.varlink.service.PermissionDenied` if this user is not the berth's
   * `server.sdk-user`, and `io.berthd.Broker.NoSuchLease` if that lease has ended.
   */
  async speak(berth: string, lease: string, speech: Speech, { signal }: WaitOptions = {}): Promise<void> {
    (await this.call("io.berthd.Broker.Speak", { berth, lease, ...speech }, { signal }))[Symbol.dispose]();
  }

  /**
   * Has a berth's server stopped once nobody plays any more, and at the latest after `within` seconds (1 to 604,800).
   * Resolves when that has begun, with the times in microseconds since 1970; undefined if nobody had the berth. Throws
   * RefusedError `org.varlink.service.PermissionDenied` if this user may not stop its server.
   */
  async drain(berth: string, { within, signal }: DrainOptions = {}): Promise<Draining | undefined> {
    using reply = await this.call("io.berthd.Broker.Drain", { berth, within }, { signal });
    const { parameters } = reply;
    assertFits<BrokerMethods["Drain"]["reply"]>("Drain", problems.drain(parameters), parameters);
    return parameters.drain ?? undefined;
  }

  /** Cancels a drain: the server goes on. Resolves with what was cancelled; undefined if the berth was not draining. */
  async cancelDrain(berth: string, { signal }: WaitOptions = {}): Promise<Draining | undefined> {
    using reply = await this.call("io.berthd.Broker.CancelDrain", { berth }, { signal });
    const { parameters } = reply;
    assertFits<BrokerMethods["CancelDrain"]["reply"]>("CancelDrain", problems.cancelDrain(parameters), parameters);
    return parameters.drain ?? undefined;
  }

  /** All families that there are. */
  async metricFamilies({ signal }: WaitOptions = {}): Promise<readonly MetricFamily[]> {
    const families: MetricFamily[] = [];
    for await (const { parameters } of this.stream("io.systemd.Metrics.Describe", {}, { signal })) {
      assertFits<MetricFamily>("io.systemd.Metrics.Describe", problems.family(parameters), parameters);
      families.push(parameters);
    }
    return families;
  }
}

/** What the interface's types `any` and `object` leave open. */
function unfit({ value, fields }: Parameters): string | undefined {
  if (typeof value !== "number" && typeof value !== "string") return "value";
  const isText = Object.values(fields ?? {}).every((one) => typeof one === "string");
  return isText ? undefined : "fields";
}

/** The types above are the interface's. Throws PROTOCOL_ERROR if a reply does not fit. */
function assertFits<T>(method: string, problem: string | undefined, _: Parameters): asserts _ is Parameters & T {
  if (problem !== undefined)
    throw new BerthError(
      "PROTOCOL_ERROR",
      `the broker's reply to ${method} has no usable ${problem}; is it a berthd of this version?`,
    );
}
