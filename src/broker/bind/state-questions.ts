/**
 * What a server's own socket is, as the process found that has read the address: so no guard process need be asked.
 * Where it did not look, or what it compared with is out of date, one is asked as ever.
 */
import type { Native } from "../../native.ts";
import type { BindReport } from "../../native-interceptor.ts";
import { familyNumber, type ListenAddress } from "../../net/address.ts";
import { typeNumber } from "../../net/transport.ts";
import { decodeResults, encodeCalls } from "../guard/protocol.ts";
import { guardCall, socketResult } from "../plans/guard-calls.ts";
import { NewSockets } from "../plans/new-sockets.ts";
import type { BindReports } from "./bind-reports.ts";
import { type SocketMake, type SocketState, stateCalls, stateIn } from "./own-socket.ts";

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

  /** Has sockets such as these looked at when they are bound. */
  askOf(listens: readonly ListenAddress[]): void {
    for (const { kind, address } of listens) this.ask({ domain: familyNumber(address), type: typeNumber(kind) });
  }

  /** Has sockets of this kind looked at when they are bound. Costs nothing if they are. */
  ask({ domain, type }: Kind): void {
    const { bytes } = NewSockets.of(domain, type, this.#sys).batch;
    const key = `${domain} ${type}`;
    if (this.#asked.get(key)?.batch === bytes) return;
    const id = ++this.#lastId;
    this.#asked.set(key, { id, batch: bytes });
    const calls = stateCalls({ domain, type }, this.#sys).map((call) => guardCall(call, 0));
    this.#thread.inquire(id, domain, type, encodeCalls(calls));
  }

  /** What the report says of its socket; undefined if it says nothing, or something out of date. */
  answerIn({ question, state }: BindReport, kind: Kind): SocketState | undefined {
    const key = `${kind.domain} ${kind.type}`;
    const asked = this.#asked.get(key);
    // Another thread has taken over, perhaps: it is told again.
    if (question < 0) this.#asked.delete(key);
    const { bytes } = NewSockets.of(kind.domain, kind.type, this.#sys).batch;
    if (asked === undefined || asked.id !== question || asked.batch !== bytes) return undefined;
    const calls = stateCalls(kind, this.#sys);
    const results = decodeResults(state, calls.length);
    return (
      results &&
      stateIn(
        calls.map((call, index) => socketResult(call, results[index])),
        kind,
        this.#sys,
      )
    );
  }
}
