/** Reads which roots the configuration needs, so that commands do not remove them. It never asks the broker. */
import { systemAccounts } from "../accounts.ts";
import { defaultConfigDirectories } from "../config/directories.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { BerthError } from "../errors.ts";
import { native } from "../native.ts";

/** The configuration, with only those berths that have a root. */
export function configuredRoots(
  directories: readonly string[] = defaultConfigDirectories(),
): Pick<LoadedConfig, "specs" | "problems"> {
  const { specs, problems } = loadConfig({ directories, accounts: systemAccounts(native) });
  return { specs: specs.filter(({ root }) => root !== undefined), problems };
}

/** Names of the berths with an image that satisfies `needed`. Throws CONFIG_INVALID if the configuration is invalid. */
export function berthsNaming(needed: (image: string) => boolean, directories?: readonly string[]): string[] {
  const { specs, problems } = configuredRoots(directories);
  if (problems.length > 0) {
    throw new BerthError(
      "CONFIG_INVALID",
      "the configuration has errors, so it does not show which berths need the image; correct them (berth check), or use --force",
    );
  }
  return specs.filter(({ root }) => root?.images.some(needed)).map(({ name }) => name);
}
