/** Calls of `berth` to the broker. A broker that is stopped answers nothing, so each call has a deadline. */
import { BerthError } from "../errors.ts";
import { socketPaths } from "../net/socket-path.ts";
import { VarlinkClient } from "../varlink/client.ts";
import { type BrokerChoice, DEFAULT_TIMEOUT_SECONDS } from "./options.ts";

/** A connection to the broker at `path`, and the signal of the deadline. */
export interface Asked {
  readonly client: VarlinkClient;
  readonly path: string;
  readonly signal: AbortSignal;
}

/**
 * Connects to the broker, and runs `action` until the deadline. Throws BROKER_UNREACHABLE if there is no broker, or if
 * it does not answer in time. The connection closes afterwards.
 */
export async function askBroker<Result>(
  choice: BrokerChoice,
  action: (asked: Asked) => Promise<Result>,
): Promise<Result> {
  const signal = deadlineOf(choice);
  const { client, path } = await connectUntil(choice, signal);
  using _ = client;
  try {
    return await action({ client, path, signal });
  } catch (error) {
    throw signal.aborted ? new NoAnswerError(path, secondsOf(choice)) : error;
  }
}

/** A signal that aborts when the command has waited long enough. */
export function deadlineOf(choice: BrokerChoice): AbortSignal {
  return AbortSignal.timeout(1000 * secondsOf(choice));
}

/** How long the command waits for the broker. */
export function secondsOf({ timeout = DEFAULT_TIMEOUT_SECONDS }: BrokerChoice): number {
  return timeout;
}

/** Connects to the first of the usual sockets on which a broker listens, or to the one that is named. */
export async function connectUntil(
  choice: BrokerChoice,
  signal: AbortSignal,
): Promise<{ readonly client: VarlinkClient; readonly path: string }> {
  const paths = choice.socket === undefined ? socketPaths() : [choice.socket];
  const reasons: string[] = [];
  for (const path of paths) {
    try {
      // A broker that is stopped has a full backlog at last: this is no reason to give up before the deadline.
      const timeout = 1000 * secondsOf(choice) + 1000;
      return { client: await VarlinkClient.connect(path, { signal, timeout }), path };
    } catch (error) {
      if (signal.aborted) throw new NoAnswerError(path, secondsOf(choice));
      if (!(error instanceof BerthError) || error.code !== "BROKER_UNREACHABLE") throw error;
      reasons.push(error.message);
    }
  }
  throw new BerthError("BROKER_UNREACHABLE", reasons.join("\n"));
}

/** Whether the broker has ended or closed the connection. The next broker goes on with leases and drains. */
export function isBrokerGone(error: unknown): boolean {
  return error instanceof BerthError && (error.code === "CONNECTION_CLOSED" || error.code === "BROKER_UNREACHABLE");
}

/** There is a broker, and it has not answered before the deadline. */
export class NoAnswerError extends BerthError {
  constructor(path: string, seconds: number) {
    const log = `journalctl ${path.startsWith("/run/user/") ? "--user " : ""}-u berthd`;
    super(
      "BROKER_UNREACHABLE",
      `the broker at ${path} did not answer within ${seconds} s; see its log (${log}), or wait longer: --timeout ${Math.ceil(6 * seconds)}`,
    );
    this.name = "NoAnswerError";
  }
}
