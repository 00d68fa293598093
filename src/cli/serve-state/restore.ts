/** Puts what the agent sends in the place of a berth's files, as `berth restore` does. */
import { join } from "node:path";
import { abortError, BerthError } from "../../errors.ts";
import { makeFolders } from "../../make-folders.ts";
import { extractStream } from "../backup/archive.ts";
import { UPPER } from "../backup/extracted.ts";
import { exchange, giveTo, rangeOf } from "../backup/replace.ts";
import { Scratch } from "../backup/scratch.ts";
import { fleetBerth, mustBeOfFleet } from "./fleet-berth.ts";
import type { RestoreRequest } from "./request.ts";
import { busy, holdVacant } from "./vacant-berth.ts";
import type { Work } from "./work.ts";

/** The bytes that came. Whatever it throws, the berth has the files of before. */
export async function restore({ berth: name }: RestoreRequest, work: Work): Promise<number> {
  const { connection, state, folders, choice, signal } = work;
  const berth = await fleetBerth(name, folders, choice);
  if (berth.lease) throw busy(name);
  const folder = join(state, "roots", name);
  makeFolders(folder, 0o700);
  using scratch = new Scratch(folder, "restoring");
  await extractStream(connection.frames(), scratch.path, signal);
  const upper = join(scratch.path, UPPER);
  const early = rangeOf(state, name);
  if (early !== undefined) await giveTo(early, upper, signal);
  await using held = await holdVacant(name, choice, signal);
  // The folders may have changed until the berth was held.
  mustBeOfFleet(name, folders);
  // The first lease has reserved it.
  const range = rangeOf(state, name);
  // Of an archive of another host no file may keep its owner.
  if (range === undefined)
    throw new BerthError("STATE_ABSENT", `berth ${name} has no range of ids, so its files cannot be restored`);
  if (range.base !== early?.base) await giveTo(range, upper, signal);
  if (signal.aborted) throw abortError(signal);
  if (connection.isGone) throw new BerthError("CONNECTION_CLOSED", "the agent has closed the connection");
  exchange(join(folder, UPPER), upper, scratch.path, false);
  await held.release();
  return connection.received;
}
