/** The files that options name: a token, certificates. */
import { readFileSync } from "node:fs";
import { Fault } from "../fault.ts";

/** Shorter ones can be guessed by trying. */
const MIN_TOKEN = 16;

/** The token: the file's first line. Throws FILE_UNREADABLE or USAGE. */
export function readToken(path: string): string {
  const token = readNamed("--token-file", path).toString("utf8").split("\n")[0]?.trim() ?? "";
  if (token.length < MIN_TOKEN) {
    throw new Fault(
      "USAGE",
      `the token in ${path} is shorter than ${MIN_TOKEN} characters; make one: openssl rand -hex 32 > ${path}`,
    );
  }
  return token;
}

/** A file's bytes. Throws FILE_UNREADABLE, which names the option. */
export function readNamed(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Fault(
      "FILE_UNREADABLE",
      `${option} ${path} cannot be read: ${error instanceof Error ? error.message : error}`,
    );
  }
}
