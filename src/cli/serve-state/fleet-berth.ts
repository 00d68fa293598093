/**
 * Which berths the agent may ask for: those that it has written itself, in its own folder, and that keep files. It
 * never gets one of the host's administrator.
 */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { system } from "../../rootfs/disk/durable.ts";
import { knownBerth } from "../backup/held-berth.ts";
import type { BerthRecord } from "../berths/berth-records.ts";
import type { BrokerChoice } from "../options.ts";

export interface BerthFolders {
  /** The folder that the agent writes. */
  readonly folder: string;
  /** The other folders that the broker reads. */
  readonly others: readonly string[];
}

/** Throws REFUSED for a berth that is not the fleet's. `name` is a valid name. */
export function mustBeOfFleet(name: string, { folder, others }: BerthFolders): void {
  const file = join(folder, `${name}.toml`);
  if (!system(file, () => lstatSync(file, { throwIfNoEntry: false }))?.isFile())
    throw refused(name, `there is no file ${printable(file)}`);
  // Also a link that leads nowhere. As in the agent: packages/fleet/src/agent/berth-files.ts.
  const inTheWay = others
    .flatMap((one) => [join(one, `${name}.toml`), join(one, `${name}.toml.d`)])
    .find((path) => system(path, () => lstatSync(path, { throwIfNoEntry: false })) !== undefined);
  if (inTheWay !== undefined) throw refused(name, `the host has ${printable(inTheWay)}`);
}

/** A berth of the fleet, as the broker knows it. Throws REFUSED, STATE_ABSENT, BROKER_UNREACHABLE. */
export async function fleetBerth(name: string, folders: BerthFolders, choice: BrokerChoice): Promise<BerthRecord> {
  mustBeOfFleet(name, folders);
  const berth = await knownBerth(name, choice);
  if (berth === undefined)
    throw new BerthError("STATE_ABSENT", `no broker runs that has berth ${name}; reload the broker: berth reload`);
  if (berth.root?.state !== "persistent")
    throw new BerthError("STATE_ABSENT", `berth ${name} has no root that keeps files`);
  return berth;
}

function refused(name: string, why: string): BerthError {
  return new BerthError("REFUSED", `berth ${name} is not one of the fleet: ${why}`);
}
