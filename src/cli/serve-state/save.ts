/** Sends the agent what a berth's servers wrote, as `berth backup` archives it. It changes nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { aboutNow } from "../backup/about.ts";
import { streamArchive } from "../backup/archive.ts";
import { UPPER } from "../backup/extracted.ts";
import { rangeOf } from "../backup/replace.ts";
import { Scratch } from "../backup/scratch.ts";
import { fleetBerth, mustBeOfFleet } from "./fleet-berth.ts";
import type { SaveRequest } from "./request.ts";
import { holdVacant } from "./vacant-berth.ts";
import type { Work } from "./work.ts";

/** The bytes of the archive. Throws STATE_ABSENT if no server has had the berth, REFUSED if one runs, and others. */
export async function save({ berth: name, live }: SaveRequest, work: Work): Promise<number> {
  const { connection, state, folders, choice, signal } = work;
  const berth = await fleetBerth(name, folders, choice);
  const folder = join(state, "roots", name);
  if (!existsSync(join(folder, UPPER)))
    throw new BerthError("STATE_ABSENT", `no server has had berth ${name} yet, so it has no files`);
  await using _held = live ? undefined : await holdVacant(name, choice, signal);
  // The folders may have changed until the berth was held.
  mustBeOfFleet(name, folders);
  using scratch = new Scratch(folder, "saving");
  const about = aboutNow(name, live ? "live" : "stopped", rangeOf(state, name), berth.root?.images);
  await streamArchive(folder, scratch.path, about, (bytes) => connection.send(bytes), signal);
  return connection.sent;
}
