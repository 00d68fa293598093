/** Where a program is, so that a berth finds it from any folder and with any PATH. */
import { resolve } from "node:path";
import { isExecutable } from "../../launcher-path.ts";

/** The absolute path of the program that this shell word runs (execvp(3)); the word itself if there is none. */
export function programPath(word: string, directory: string, path: string): string {
  if (word.includes("/")) return resolve(directory, word);
  const places = path.split(":").map((folder) => resolve(directory, folder, word));
  return places.find(isExecutable) ?? word;
}
