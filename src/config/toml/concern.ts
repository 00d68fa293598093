/** Which berths a file of the configuration concerns, by its path alone. Pure. */
import { relative } from "node:path";
import type { BerthName } from "./name.ts";

const none: readonly string[] = [];

/** Finds the names of those berths. A template's files and drop-ins concern all its instances. */
export function concerns(
  directories: readonly string[],
  berths: readonly BerthName[],
): (file: string) => readonly string[] {
  const byStem = new Map<string, string[]>();
  for (const name of berths)
    for (const stem of name.kind === "instance" ? [name.full, `${name.template}@`] : [name.full]) {
      const list = byStem.get(stem);
      if (list === undefined) byStem.set(stem, [name.full]);
      else list.push(name.full);
    }
  return (file) => {
    for (const directory of directories) {
      const stem = /^([^/]+)\.toml(?:\.d(?:\/[^/]*)?)?$/.exec(relative(directory, file))?.[1];
      if (stem !== undefined) return byStem.get(stem) ?? none;
    }
    return none;
  };
}
