/** What the configuration says of roots, for commands that must not take away what a berth needs. It asks no broker. */
import { systemAccounts } from "../accounts.ts";
import { defaultConfigDirectories } from "../config/directories.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { BerthError } from "../errors.ts";
import { native } from "../native.ts";

/** The configuration, with only those berths that have a root. */
export function configuredRoots(directories: readonly string[] = defaultConfigDirectories()): LoadedConfig {
  const { specs, problems } = loadConfig({ directories, accounts: systemAccounts(native) });
  return { specs: specs.filter(({ root }) => root !== undefined), problems };
}

/** Names of berths with an image for which `needed` holds. Throws CONFIG_INVALID when that cannot be told. */
export function berthsNaming(needed: (image: string) => boolean, directories?: readonly string[]): string[] {
  const { specs, problems } = configuredRoots(directories);
  if (problems.length > 0) {
    throw new BerthError(
      "CONFIG_INVALID",
      "the configuration has problems, so that it is not known which berths need it; correct them (berth check), or say --force",
    );
  }
  return specs.filter(({ root }) => root?.images.some(needed)).map(({ name }) => name);
}
