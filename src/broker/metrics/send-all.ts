/** Sends many replies to one call, as fast as the client reads them and in slices. */
import { NOTHING_BORROWED } from "../../fd.ts";
import { encodeReply, type Parameters } from "../../varlink/message.ts";
import { type Answer, answer, refuse } from "../../varlink/service.ts";
import type { Session } from "../session/session.ts";
import type { Slices } from "./slices.ts";

/** Bytes that are sent at once: one system call for some hundred replies. */
const BATCH_BYTES = 16 * 1024;

/**
 * Sends all of them but the last, which goes to `reply`. Without any it is NoSuchMetric. While the client does not
 * read, nothing more is made for it.
 */
export function sendAll(
  session: Pick<Session, "closed" | "send" | "onceDrained">,
  all: Iterator<Parameters>,
  slices: Slices,
  reply: (answer: Answer | undefined) => void,
): void {
  let last: Parameters | undefined;
  let batch: Buffer[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (bytes > 0) session.send({ bytes: Buffer.concat(batch, bytes), borrowed: NOTHING_BORROWED });
    batch = [];
    bytes = 0;
  };
  const piece = (): boolean => {
    if (session.closed) {
      all.return?.();
      reply(undefined);
      return false;
    }
    const next = all.next();
    if (next.done === true) {
      flush();
      reply(last === undefined ? refuse("io.systemd.Metrics.NoSuchMetric") : answer(last));
      return false;
    }
    if (last !== undefined) {
      const frame = encodeReply(last, true);
      batch.push(frame);
      bytes += frame.length;
    }
    last = next.value;
    if (bytes < BATCH_BYTES) return true;
    flush();
    session.onceDrained(() => slices.add(piece));
    return false;
  };
  slices.add(piece);
}
