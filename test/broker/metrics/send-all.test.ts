/** Many replies to one call: a client that does not read, or is gone, costs nothing more. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { sendAll } from "../../../src/broker/metrics/send-all.ts";
import { Slices } from "../../../src/broker/metrics/slices.ts";
import type { Answer } from "../../../src/varlink/service.ts";

/** A session whose client reads when the test says so. */
class Client {
  closed = false;
  sent = "";
  #reads: (() => void) | undefined;

  send({ bytes }: Pick<Answer, "bytes">): void {
    this.sent += Buffer.from(bytes).toString();
  }

  onceDrained(hear: () => void): void {
    this.#reads = hear;
  }

  get isAwaited(): boolean {
    return this.#reads !== undefined;
  }

  read(): void {
    const reads = this.#reads;
    this.#reads = undefined;
    reads?.();
  }
}

class Replies implements Iterator<{ n: string }> {
  made = 0;
  hasReturned = false;
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  next(): IteratorResult<{ n: string }> {
    if (this.made === this.#count) return { done: true, value: undefined };
    return { done: false, value: { n: `${this.made++} ${"x".repeat(1000)}` } };
  }

  return(): IteratorResult<{ n: string }> {
    this.hasReturned = true;
    return { done: true, value: undefined };
  }
}

it("makes a batch, then nothing more until the client has read it; all arrive, the last as the answer", async () => {
  const [client, replies, answers] = [new Client(), new Replies(100), [] as (Answer | undefined)[]];
  sendAll(client, replies, new Slices(), (one) => answers.push(one));
  while (!client.isAwaited) await nextTurn();
  const { made } = replies;
  expect(made).toBeLessThan(20);
  for (let turn = 0; turn < 10; turn++) await nextTurn();
  expect(replies.made).toBe(made);
  for (let turn = 0; turn < 1000 && answers.length === 0; turn++) {
    client.read();
    await nextTurn();
  }
  expect(answers).toHaveLength(1);
  const frames = client.sent.split("\0").filter((frame) => frame !== "");
  expect(frames).toHaveLength(99);
  expect(frames.every((frame) => frame.includes('"continues":true'))).toBe(true);
  expect(Buffer.from(answers[0]?.bytes ?? "").toString()).toContain('"99 x');
});

it("a client that has gone: the replies are ended, and there is no answer", async () => {
  const [client, replies, answers] = [new Client(), new Replies(100), [] as (Answer | undefined)[]];
  sendAll(client, replies, new Slices(), (one) => answers.push(one));
  while (!client.isAwaited) await nextTurn();
  const { made } = replies;
  client.closed = true;
  client.read();
  await nextTurn();
  expect(answers).toEqual([undefined]);
  expect({ made: replies.made, hasReturned: replies.hasReturned }).toEqual({ made, hasReturned: true });
});

it("no replies at all are NoSuchMetric", async () => {
  const [client, answers] = [new Client(), [] as (Answer | undefined)[]];
  sendAll(client, new Replies(0), new Slices(), (one) => answers.push(one));
  await nextTurn();
  expect(answers).toMatchObject([{ error: "io.systemd.Metrics.NoSuchMetric" }]);
  expect(client.sent).toBe("");
});
