/** Finding the broker: the first of the usual places where one answers. */
import { BerthError } from "../errors.ts";
import { socketPaths } from "../net/socket-path.ts";
import { connectUnix } from "../varlink/connect.ts";
import { BrokerClient } from "./broker-client.ts";

export interface ConnectOptions {
  /**
   * Path of the broker's socket; `@name` is abstract. Default: $BERTHD_SOCKET, else the user's own broker, else the
   * host's.
   */
  readonly socket?: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to a broker, for calls of one's own: `client.call("io.berthd.Broker.List")`. The interface is in
 * docs/protocol.md. Throws BROKER_UNREACHABLE, which names every place where none was found.
 */
export async function connect(options: ConnectOptions = {}): Promise<BrokerClient> {
  const { signal } = options;
  const paths = options.socket === undefined ? socketPaths() : [options.socket];
  const reasons: string[] = [];
  for (const path of paths) {
    try {
      return new BrokerClient(await connectUnix(path, { signal }));
    } catch (error) {
      if (!(error instanceof BerthError) || error.code !== "BROKER_UNREACHABLE") throw error;
      reasons.push(error.message);
    }
  }
  throw new BerthError("BROKER_UNREACHABLE", reasons.join("\n"));
}
