/** Empties a host: no new berths come, and those that are there move to others, or stop until the host is opened. */
import type { Etcd } from "../../etcd/etcd.ts";
import { Fault } from "../../fault.ts";
import type { Hold } from "../../model/hold.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import { type Kept, readFleet } from "../view.ts";
import { cordonHost } from "./cordon.ts";
import { type MoveOptions, moveBerth } from "./move.ts";
import { untilHeld } from "./waits.ts";

export interface DrainOptions extends Omit<MoveOptions, "to"> {
  /** What becomes of a berth that no other host can have: it stops. Otherwise it stays and serves. */
  readonly stop: boolean;
}

/** What became of one berth. */
export interface Drained {
  readonly berth: string;
  readonly done: "moved" | "stopped" | "stays";
  /** Where it is now. */
  readonly host: string;
  /** Why it did not move. */
  readonly why?: string;
}

/** Berths that move at the same time. */
const MOST_MOVES = 4;

/** Resolves with what became of each berth, in the order of their names. Throws NO_SUCH_HOST. */
export async function drainHost(etcd: Etcd, keys: Keys, host: string, options: DrainOptions): Promise<Drained[]> {
  await cordonHost(etcd, keys, host);
  // None is added after this: a placement fails where the host is closed meanwhile.
  const { placements } = await readFleet(etcd, keys);
  const waiting = [...placements.values()].filter(({ record }) => record.host === host);
  const drained: Drained[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const one = await drainBerth(etcd, keys, next, options);
      drained.push(one);
      options.say(`${one.berth}: ${DONE[one.done]} ${one.host}${one.why === undefined ? "" : `: ${one.why}`}`);
    }
  };
  await Promise.all(Array.from({ length: MOST_MOVES }, work));
  return drained.sort((one, other) => (one.berth < other.berth ? -1 : 1));
}

const DONE: Readonly<Record<Drained["done"], string>> = {
  moved: "is on",
  stopped: "is stopped on",
  stays: "stays on",
};

async function drainBerth(etcd: Etcd, keys: Keys, former: Kept<Placement>, options: DrainOptions): Promise<Drained> {
  const { berth, host } = former.record;
  if (options.signal.aborted) return { berth, done: "stays", host, why: "the drain was ended" };
  try {
    const { placement } = await moveBerth(etcd, keys, berth, options);
    return { berth, done: "moved", host: placement.host };
  } catch (error) {
    if (!(error instanceof Fault) || !ABOUT_ONE.has(error.code)) throw error;
    const why = error.message;
    if (error.code !== "NO_FIT" || !options.stop) return { berth, done: "stays", host, why };
    return await stopBerth(etcd, keys, former, options, why);
  }
}

/** These end the move of one berth; the others still move. */
const ABOUT_ONE: ReadonlySet<string> = new Set(["NO_FIT", "NOT_MOVED", "NO_SUCH_BERTH", "CONTENDED"]);

/** Has its host hold it until the host is opened again. */
async function stopBerth(
  etcd: Etcd,
  keys: Keys,
  { record, revision }: Kept<Placement>,
  options: DrainOptions,
  why: string,
): Promise<Drained> {
  const { berth, host, generation } = record;
  const { within } = options;
  const hold: Hold = { berth, generation, by: "drain", ...(within !== undefined && { within }) };
  const key = keys.of({ kind: "hold", host, berth });
  const { done } = await etcd.commit(
    [
      { key, revision: 0 },
      { key: keys.of({ kind: "placement", berth }), revision },
      { key: keys.of({ kind: "cordon", host }), present: true },
    ],
    [{ put: key, value: JSON.stringify(hold) }],
  );
  const { lists } = await etcd.read({ key });
  if (!done && lists[0].length === 0) return { berth, done: "stays", host, why: "somebody else has changed it" };
  try {
    await untilHeld(etcd, keys, record, new AbortController().signal, options);
    return { berth, done: "stopped", host, why };
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "NOT_MOVED") throw error;
    if (done) await etcd.commit([], [{ remove: { key } }]);
    return { berth, done: "stays", host, why: error.message };
  }
}
