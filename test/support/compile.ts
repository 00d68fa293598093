/** C programs of the tests, compiled when a test wants them. */
import { execFileSync } from "node:child_process";

/** Compiles a source file of test/fixtures; returns `program`, its path. */
export function compileC(source: string, program: string, flags: readonly string[] = []): string {
  const common = ["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-O1", "-D_GNU_SOURCE"];
  execFileSync("gcc", [...common, "-o", program, source, ...flags]);
  return program;
}
