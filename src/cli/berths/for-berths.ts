/** Does the same for each berth that a command line names, and prints what came of each. */
import { BerthError, RefusedError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import { fail } from "../print/exit.ts";
import { print } from "../print/stdout.ts";

const AT_ONCE = 8;

export interface ForBerthsOptions<Result> {
  /** A result as people read it, after the berth's name. */
  readonly describe: (result: Result, berth: string) => string;
  /** Prints one array of all results at the end. */
  readonly json: boolean;
  /** Prints no results. */
  readonly quiet?: boolean;
  /** Ends it: nothing more is begun or printed. */
  readonly signal: AbortSignal;
  /** After a failure, begins no other. Gets those that were not begun. */
  readonly onLeft?: (names: readonly string[]) => void;
  /** How many are acted on at once. */
  readonly atOnce?: number;
}

/**
 * A berth that fails does not keep the others from their turn. Each failure is a line on standard error, and sets the
 * exit code; in JSON it is a record with `error` and `message`.
 */
export async function forBerths<Result extends object>(
  names: readonly string[],
  act: (name: string) => Promise<Result>,
  { describe, json, quiet = false, signal, onLeft, atOnce = AT_ONCE }: ForBerthsOptions<Result>,
): Promise<void> {
  const wanted = [...new Set(names)];
  const queue = [...wanted];
  const records = new Map<string, object>();
  const left: string[] = [];
  const work = async (): Promise<void> => {
    for (let name = queue.shift(); name !== undefined && !signal.aborted; name = queue.shift()) {
      try {
        const result = await act(name);
        records.set(name, { berth: name, ...result });
        if (!json && !quiet) print(`${printable(name)}: ${describe(result, name)}\n`);
      } catch (error) {
        if (signal.aborted) return;
        fail("berth", error);
        records.set(name, { berth: name, ...failure(error) });
        if (onLeft !== undefined) left.push(...queue.splice(0));
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, wanted.length) }, work));
  if (left.length > 0 && !signal.aborted) onLeft?.(left);
  if (json && !signal.aborted)
    print(
      `${printableJson(
        wanted.flatMap((name) => records.get(name) ?? []),
        2,
      )}\n`,
    );
}

function failure(error: unknown): { readonly error: string; readonly message: string } {
  const message = error instanceof Error ? error.message : String(error);
  return {
    error: error instanceof RefusedError ? error.error : error instanceof BerthError ? error.code : "",
    message,
  };
}
