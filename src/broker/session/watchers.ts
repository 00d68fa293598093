/** The sessions that called Watch. Each gets the events of the berths it may see. */
import { NOTHING_BORROWED } from "../../fd.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import { encodeReply } from "../../varlink/message.ts";
import type { Answer } from "../../varlink/service.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { BerthEvent } from "../berths/berth/berth-view.ts";
import type { Refusal } from "../berths/request.ts";
import type { Session } from "./session.ts";

export class Watchers {
  readonly #sessions = new Set<Session>();
  /** How many of them each unprivileged user has, by its account. */
  readonly #counts = new Map<number, number>();
  #total = 0;
  readonly #max: number;

  /** `max`: how many of them may be unprivileged. */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Makes room for another watcher. If there is none, the user with the most watchers loses one, unless the newcomer
   * has as many. Then it says why there is no room.
   */
  makeRoom({ account, privileged }: Session): Refusal | undefined {
    if (privileged || this.#total < this.#max) return undefined;
    let [greediest, most] = [account, this.#counts.get(account) ?? 0];
    for (const [user, count] of this.#counts) if (count > most) [greediest, most] = [user, count];
    if (greediest === account)
      return { kind: "limit", limit: "watchers", message: `${this.#max} connections watch already; try again later` };
    for (const session of this.#sessions) {
      if (session.privileged || session.account !== greediest) continue;
      session.close();
      break;
    }
    return undefined;
  }

  add(session: Session): void {
    // It may have closed while the first events were sent. Then nothing would remove it from the set.
    if (session.closed) return;
    session.watching = true;
    this.#sessions.add(session);
    this.#count(session, 1);
    session.onceClosed(() => {
      this.#sessions.delete(session);
      this.#count(session, -1);
    });
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Tells every watcher who may see the berth. One message for all: the kernel copies it. */
  tell(event: BerthEvent, berth: Berth, maySee: (session: Session) => boolean): void {
    if (this.#sessions.size === 0) return;
    const message = eventAnswer(event, berth);
    for (const session of this.#sessions) if (maySee(session)) session.send(message);
  }

  #count({ account, privileged }: Session, change: 1 | -1): void {
    if (privileged) return;
    this.#total += change;
    const count = (this.#counts.get(account) ?? 0) + change;
    if (count > 0) this.#counts.set(account, count);
    else this.#counts.delete(account);
  }
}

/** One reply of a Watch. */
export function eventAnswer(event: BerthEvent, berth: Berth): Answer {
  const reply: BrokerMethods["Watch"]["reply"] = { event, berth: berth.view() };
  return { bytes: encodeReply(reply, true), borrowed: NOTHING_BORROWED };
}
