/** Counts the calls of a method that are granted, and how long each takes: from its arrival to its answer. */
import type { Answer, Handler } from "../../varlink/service.ts";
import type { Latency } from "../counts/latency.ts";

/** As `handle`. An error reply counts as none. */
export function timed<C, P>(handle: Handler<C, P>, latency: Latency): Handler<C, P> {
  return (context, parameters, call, fds) => {
    const start = performance.now();
    const result = handle(context, parameters, call, fds);
    if (typeof result !== "function") {
      note(latency, start, result);
      return result;
    }
    return (done) =>
      result((answer) => {
        note(latency, start, answer);
        done(answer);
      });
  };
}

function note(latency: Latency, start: number, answer: Answer | undefined): void {
  if (answer !== undefined && answer.error === undefined) latency.note(performance.now() - start);
}
