/**
 * The state of a server's own socket, as a report has it: the process that read the address has asked the socket. So no
 * guard process has to be asked. A report without that state, or with one that is out of date, still needs one.
 */
import type { Native } from "../../native.ts";
import type { BindReport } from "../../native-interceptor.ts";
import { familyNumber, type ListenAddress } from "../../net/address.ts";
import { typeNumber } from "../../net/transport.ts";
import { decodeResults, encodeCalls } from "../guard/protocol.ts";
import { guardCall, socketResult } from "../plans/guard-calls.ts";
import { NewSockets } from "../plans/new-sockets.ts";
import type { BindReports } from "./bind-reports.ts";
import { type SocketMake, type SocketState, stateCalls, stateIn } from "./server/own-socket.ts";

type Kind = Pick<SocketMake, "domain" | "type">;

export class StateQuestions {
  readonly #sys: Native;
  readonly #thread: Pick<BindReports, "inquire">;
  /** The number of the last question about each kind, and what it compares with. */
  readonly #asked = new Map<string, { readonly id: number; readonly batch: Uint8Array }>();
  #lastId = 0;

  constructor(sys: Native, thread: Pick<BindReports, "inquire">) {
    this.#sys = sys;
    this.#thread = thread;
  }

  /** From now on, reports of sockets such as these have their state. */
  askOf(listens: readonly ListenAddress[]): void {
    for (const { kind, address } of listens) this.ask({ domain: familyNumber(address), type: typeNumber(kind) });
  }

  /** From now on, reports of sockets of this kind have their state. Costs nothing if they do already. */
  ask({ domain, type }: Kind): void {
    const { bytes } = NewSockets.of(domain, type, this.#sys).batch;
    const key = `${domain} ${type}`;
    if (this.#asked.get(key)?.batch === bytes) return;
    const id = ++this.#lastId;
    this.#asked.set(key, { id, batch: bytes });
    const calls = stateCalls({ domain, type }, this.#sys).map((call) => guardCall(call, 0));
    this.#thread.inquire(id, domain, type, encodeCalls(calls));
  }

  /** The state that the report has; undefined if it has none, or one that is out of date. */
  answerIn({ question, state }: BindReport, kind: Kind): SocketState | undefined {
    const key = `${kind.domain} ${kind.type}`;
    const asked = this.#asked.get(key);
    // Perhaps another thread has taken over, which does not know the question.
    if (question < 0) this.#asked.delete(key);
    const { bytes } = NewSockets.of(kind.domain, kind.type, this.#sys).batch;
    if (asked === undefined || asked.id !== question || asked.batch !== bytes) return undefined;
    const calls = stateCalls(kind, this.#sys);
    const results = decodeResults(state, calls.length);
    if (results === undefined) return undefined;
    const found = calls.map((call, index) => socketResult(call, results[index]));
    return stateIn(found, kind, this.#sys);
  }
}
