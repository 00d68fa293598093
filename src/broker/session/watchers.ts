/** The sessions that called Watch. Each gets the events of the berths it may see. */
import { NOTHING_BORROWED } from "../../fd.ts";
import type { BrokerMethods } from "../../varlink/io.berthd.Broker.types.ts";
import { encodeReply } from "../../varlink/message.ts";
import type { Answer } from "../../varlink/service.ts";
import type { Berth, BerthEvent } from "../berths/berth.ts";
import type { Session } from "./session.ts";

export class Watchers {
  readonly #sessions = new Set<Session>();

  add(session: Session): void {
    // It may have closed while the first events were sent. Then nothing would remove it from the set.
    if (session.closed) return;
    session.watching = true;
    this.#sessions.add(session);
    session.onceClosed(() => this.#sessions.delete(session));
  }

  /** Tells every watcher who may see the berth. One message for all: the kernel copies it. */
  tell(event: BerthEvent, berth: Berth, maySee: (session: Session) => boolean): void {
    if (this.#sessions.size === 0) return;
    const message = eventAnswer(event, berth);
    for (const session of this.#sessions) if (maySee(session)) session.send(message);
  }
}

/** One reply of a Watch. */
export function eventAnswer(event: BerthEvent, berth: Berth): Answer {
  const reply: BrokerMethods["Watch"]["reply"] = { event, berth: berth.view() };
  return { bytes: encodeReply(reply, true), borrowed: NOTHING_BORROWED };
}
