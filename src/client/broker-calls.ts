/** A tenant's calls to its broker, over one connection, which is made again when the broker has closed it. */
import type { FdHandle } from "../fd.ts";
import type { Reply, VarlinkClient } from "../varlink/client.ts";
import type { WaitOptions } from "../wait-options.ts";

type Reconnect = (signal: AbortSignal | undefined) => Promise<VarlinkClient>;

export class BrokerCalls {
  readonly #reconnect: Reconnect;
  #client: VarlinkClient | undefined;

  constructor(client: VarlinkClient | undefined, reconnect: Reconnect) {
    this.#client = client;
    this.#reconnect = reconnect;
  }

  /** The reply of a method of io.berthd.Broker. The caller owns its descriptors. */
  async ask(
    method: string,
    parameters: Readonly<Record<string, unknown>>,
    { signal }: WaitOptions,
    fds: readonly FdHandle[] = [],
  ): Promise<Reply> {
    const client = this.#open ?? (await this.#connect(signal));
    return await client.call(`io.berthd.Broker.${method}`, parameters, { signal, fds });
  }

  close(): void {
    this.#client?.close();
  }

  get #open(): VarlinkClient | undefined {
    return this.#client?.closed === false ? this.#client : undefined;
  }

  async #connect(signal: AbortSignal | undefined): Promise<VarlinkClient> {
    const client = await this.#reconnect(signal);
    const other = this.#open;
    // Another call may have connected meanwhile.
    if (other === undefined) this.#client = client;
    else client.close();
    return other ?? client;
  }
}
