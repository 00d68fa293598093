/** The recipes of the package: examples/recipes/NAME.toml. It only reads them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../native.ts";

const folder = join(packageRoot, "examples/recipes");

/** Their names, in the order of the alphabet. */
export function recipeNames(): readonly string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".toml"))
    .map((file) => file.slice(0, -".toml".length))
    .sort();
}

/** The text of one. The name is one of {@link recipeNames}. */
export function readRecipe(name: string): string {
  return readFileSync(join(folder, `${name}.toml`), "utf8");
}
