/** The events of /api/v1/events, kept in order, for tests that wait for one. */
import { request } from "node:http";

export interface StreamEvent {
  readonly name: string;
  readonly data: unknown;
  /** `performance.now()` when it came. */
  readonly at: number;
}

export class EventStream implements Disposable {
  readonly events: StreamEvent[] = [];
  readonly #end: () => void;
  readonly #waiting = new Set<() => void>();

  constructor(port: number) {
    const sent = request({ host: "127.0.0.1", port, path: "/api/v1/events", agent: false });
    sent.on("error", () => undefined);
    sent.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        const parts = text.split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) this.#take(part);
      });
      response.on("error", () => undefined);
    });
    sent.end();
    this.#end = () => sent.destroy();
  }

  #take(part: string): void {
    const name = /^event: (.*)$/m.exec(part)?.[1];
    const data = /^data: (.*)$/m.exec(part)?.[1];
    if (name === undefined || data === undefined) return; // a ping
    this.events.push({ name, data: JSON.parse(data), at: performance.now() });
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** The first event, past or to come, that satisfies the test. */
  async until(test: (event: StreamEvent) => boolean): Promise<StreamEvent> {
    for (;;) {
      const found = this.events.find(test);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}
