/** Calls of a broker over one connection, one at a time, and how long each takes. It never reads what came with one. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const CALL_MS = 60_000;

export class Caller {
  #connection;
  #parts = [];
  #done;

  /** Connects to a broker's socket. */
  static async open(path) {
    const caller = new Caller();
    caller.#connection = connect(path);
    caller.#connection.on("data", (bytes) => caller.#take(bytes));
    await once(caller.#connection, "connect");
    caller.#connection.on("error", (error) => caller.#done?.({ error }));
    caller.#connection.on("close", () => caller.#done?.({ error: new Error("the broker closed the connection") }));
    return caller;
  }

  /** Makes one call. Resolves with its parameters and its milliseconds; rejects if it was refused. */
  async call(method, parameters = {}) {
    const begin = process.hrtime.bigint();
    const reply = new Promise((resolve) => {
      this.#done = resolve;
    });
    this.#connection.write(`${JSON.stringify({ method: `io.berthd.Broker.${method}`, parameters })}\0`);
    const timer = setTimeout(() => this.#done({ error: new Error(`${method} took ${CALL_MS / 1000} s`) }), CALL_MS);
    const { text, error } = await reply;
    clearTimeout(timer);
    if (error !== undefined) throw error;
    const ms = Number(process.hrtime.bigint() - begin) / 1e6;
    const message = JSON.parse(text);
    if (message.error !== undefined) throw new Error(`${method} was refused: ${text}`);
    return { ms, parameters: message.parameters };
  }

  /** Calls again and again, a millisecond apart, until `work` settles. Resolves with what each call took. */
  async during(work, method, parameters) {
    let isDone = false;
    const settled = work().finally(() => {
      isDone = true;
    });
    const times = [];
    while (!isDone) {
      times.push((await this.call(method, parameters)).ms);
      await delay(1);
    }
    await settled;
    return times;
  }

  close() {
    this.#connection.destroy();
  }

  #take(bytes) {
    const end = bytes.indexOf(0);
    this.#parts.push(end < 0 ? bytes : bytes.subarray(0, end));
    if (end < 0) return;
    const text = Buffer.concat(this.#parts).toString();
    this.#parts = [];
    this.#done?.({ text });
  }
}
