/** The connections that are open, and which of them to close when there is no room for another. */
import type { Log } from "../../log.ts";
import type { Quota } from "../access/limits/quota.ts";
import type { Session } from "./session.ts";

/** Who wants a connection. */
export interface Newcomer {
  readonly account: number;
  readonly privileged: boolean;
}

export class Crowd {
  readonly sessions: Set<Session> = new Set();
  readonly #quota: Quota;
  readonly #log: Log;

  constructor(quota: Quota, log: Log) {
    this.#quota = quota;
    this.#log = log;
  }

  /** Closes an idle connection, of the user's own if there is an account. False when there is none. */
  evictIdle(account?: number): boolean {
    return this.#evict((session) => session.idle && (account === undefined || session.account === account));
  }

  /**
   * Closes a connection of the user who has the most: an idle one, else a busy one. Root's newcomers may take the place
   * of any unprivileged user, others only of users who have more connections than they have. None of root's
   * connections is closed for an unprivileged newcomer.
   */
  evictFor(newcomer: Newcomer): boolean {
    const unprivileged = ({ privileged }: Session): boolean => !privileged;
    if (this.#evictOfGreediest((session) => session.idle && !session.privileged)) return true;
    if (newcomer.privileged) {
      return (
        this.#evictOfGreediest(unprivileged) ||
        this.#evictOfGreediest(({ idle }) => idle) ||
        this.#evictOfGreediest(() => true, newcomer.account)
      );
    }
    return this.#evictOfGreediest(unprivileged, newcomer.account);
  }

  /** `than`: only if the greediest has more connections than this account. */
  #evictOfGreediest(qualifies: (session: Session) => boolean, than?: number): boolean {
    const greediest = this.#greediest(qualifies);
    if (greediest === undefined) return false;
    if (than !== undefined && this.#used(greediest) <= this.#used(than)) return false;
    return this.#evict((session) => session.account === greediest && qualifies(session));
  }

  /** The user with the most connections, among those with one that qualifies. */
  #greediest(qualifies: (session: Session) => boolean): number | undefined {
    let greediest: number | undefined;
    let most = 0;
    for (const session of this.sessions) {
      const used = qualifies(session) ? this.#used(session.account) : 0;
      if (used > most) [greediest, most] = [session.account, used];
    }
    return greediest;
  }

  #used(account: number): number {
    return this.#quota.used("connections", account);
  }

  /** Closes the qualifying connection that has been silent longest. False when none qualifies. */
  #evict(qualifies: (session: Session) => boolean): boolean {
    let oldest: Session | undefined;
    for (const session of this.sessions) {
      if (qualifies(session) && !(oldest !== undefined && oldest.lastActive <= session.lastActive)) oldest = session;
    }
    if (oldest === undefined) return false;
    const { pid, uid } = oldest.peer;
    const message = `connection of pid ${pid} (uid ${uid}) closed to make room`;
    this.#log("info", message, { event: "evicted", pid, uid });
    oldest.close();
    return true;
  }
}
