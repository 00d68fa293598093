/**
 * Clones what a server wrote while the server is frozen (systemctl freeze, Linux's cgroup v2 freezer). Blocks are
 * shared (FICLONE, ioctl_ficlone(2)), so it takes as long as there are files, however big they are.
 */
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { runCommand } from "../../rootfs/images/run-command.ts";
import { servicesFor, unitOf } from "../services.ts";

/** Clones `upper` into the folder `clone`. Gives how many milliseconds the server was frozen. Throws SYSTEM_ERROR. */
export async function takeSnapshot(berth: string, upper: string, clone: string, signal: AbortSignal): Promise<number> {
  const services = await servicesFor(berth);
  const unit = unitOf(berth);
  if ((await services.mainOf(unit)) === 0)
    throw new BerthError(
      "SYSTEM_ERROR",
      `the server of berth ${printable(berth)} is no unit of systemd, so it cannot be frozen; without --snapshot it is stopped for the backup`,
    );
  await services.run("freeze", [unit]);
  const since = performance.now();
  try {
    const copy = ["cp", "--archive", "--reflink=always", "--one-file-system", "--", upper, clone] as const;
    await runCommand(copy, { signal, failure: "SYSTEM_ERROR" });
  } catch (error) {
    if (!(error instanceof BerthError) || !/failed to clone|Operation not supported/.test(error.message)) throw error;
    const message = `the file system of ${printable(upper)} cannot clone files; without --snapshot the server is stopped for the backup`;
    throw new BerthError("SYSTEM_ERROR", message, { cause: error });
  } finally {
    await services.run("thaw", [unit]);
  }
  return Math.round(performance.now() - since);
}
