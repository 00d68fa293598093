/** How a file is opened: the letters of node:fs, or open(2)'s own numbers. */
import { constants } from "node:fs";
import { BerthError } from "../../errors.ts";

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;

/**
 * As in node:fs: `r` reads, `w` writes a new or emptied file, `a` appends, `+` does both, `x` requires a new file. Or a
 * number made of `fs.constants.O_*`.
 */
export type OpenFlags = "r" | "r+" | "w" | "w+" | "wx" | "wx+" | "a" | "a+" | "ax" | "ax+" | number;

const numbers: Readonly<Record<Exclude<OpenFlags, number>, number>> = {
  r: O_RDONLY,
  "r+": O_RDWR,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  "w+": O_RDWR | O_CREAT | O_TRUNC,
  wx: O_WRONLY | O_CREAT | O_TRUNC | O_EXCL,
  "wx+": O_RDWR | O_CREAT | O_TRUNC | O_EXCL,
  a: O_WRONLY | O_CREAT | O_APPEND,
  "a+": O_RDWR | O_CREAT | O_APPEND,
  ax: O_WRONLY | O_CREAT | O_APPEND | O_EXCL,
  "ax+": O_RDWR | O_CREAT | O_APPEND | O_EXCL,
};

/** Throws USAGE for unknown letters. */
export function openFlags(flags: OpenFlags): number {
  if (typeof flags === "number") return flags;
  if (!Object.hasOwn(numbers, flags))
    throw new BerthError(
      "USAGE",
      `"${flags}" does not say how to open a file: use one of ${Object.keys(numbers).join(", ")}`,
    );
  return numbers[flags];
}
