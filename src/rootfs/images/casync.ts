/**
 * Extracts trees from chunks with casync(1). Files keep the owners in the archive (hazard 37). The idmapped mount of a
 * root shifts the owners later. `--without=user-names`: otherwise casync looks up the archive's user names on this
 * host, and gives the files to users who happen to have the same names.
 */
import { BerthError } from "../../errors.ts";
import { type CommandOptions, runCommand } from "./run-command.ts";

/** An index, and what casync needs to extract its tree. */
export interface CasyncSource {
  /** A path, an http(s)/ftp/sftp address, or HOST:PATH over ssh. */
  readonly index: string;
  /** The stores of chunks. At most one is remote. Empty for `default.castr` beside the index. */
  readonly stores: readonly string[];
  /** Further options of casync. */
  readonly options: readonly string[];
}

/** Whether a location is on the network: an address, or HOST:PATH. */
export function isRemote(location: string): boolean {
  return /^([a-z]+:\/\/|[^/]+:)/.test(location);
}

function common({ stores, options }: CasyncSource, seeds: readonly string[]): string[] {
  // casync fetches only from --store: a remote --extra-store fails with "Protocol driver not attached".
  const [first, ...others] = [...stores].sort((a, b) => Number(isRemote(b)) - Number(isRemote(a)));
  return [
    "--without=user-names",
    ...(first === undefined ? [] : [`--store=${first}`]),
    ...others.map((store) => `--extra-store=${store}`),
    ...seeds.map((seed) => `--seed=${seed}`),
    ...options,
  ];
}

/** Extracts into a new folder. casync does not fetch chunks that a seed has. It checks the digest of each chunk. */
export async function extract(
  source: CasyncSource,
  tree: string,
  seeds: readonly string[],
  onFile: () => void,
  options: CommandOptions,
): Promise<void> {
  const onNote = (line: string): boolean => {
    if (line.startsWith("Extracted ")) onFile();
    return /^\W*(Extract(ing|ed) |Using feature |Excluding |Digest algorithm)/.test(line);
  };
  await runCommand(["casync", "extract", "-v", "--seed-output=no", ...common(source, seeds), source.index, tree], {
    ...options,
    onNote,
  });
}

/** The digest that `casync make` printed for the archive. casync does not fetch chunks again that the tree has. */
export async function archiveDigest(source: CasyncSource, tree: string, options: CommandOptions): Promise<string> {
  let digest = "";
  const onLine = (line: string): void => {
    digest = line.trim();
  };
  await runCommand(["casync", "digest", ...common(source, [tree]), source.index], { ...options, onLine });
  return digest;
}

/**
 * Compares each file of the archive with the extracted tree: names, kinds, modes, owners, times, links and digests of
 * contents. Throws IMPORT_FAILED, which names the first file that differs.
 */
export async function compareArchive(source: CasyncSource, tree: string, options: CommandOptions): Promise<void> {
  const wanted: string[] = [];
  const keep = (line: string): void => void wanted.push(line);
  await runCommand(["casync", "mtree", ...common(source, [tree]), source.index], { ...options, onLine: keep });
  let different: string | undefined;
  // An archive uses one of two digests. casync does not say which: it calls both sha512256. So try each.
  for (const digest of ["sha512-256", "sha256"]) {
    different = await firstDifference(
      wanted,
      ["casync", "mtree", "--without=user-names", `--digest=${digest}`, tree],
      options,
    );
    if (different === undefined) return;
  }
  throw new BerthError(
    "IMPORT_FAILED",
    `the tree that casync extracted differs from ${source.index}: ${different} differs; either the index changed during ` +
      "the import (import again), or the state folder's file system cannot store this file",
  );
}

/** Runs a command. The path in the first wanted line that the command prints differently or not at all. */
async function firstDifference(
  wanted: readonly string[],
  argv: readonly [string, ...string[]],
  options: CommandOptions,
): Promise<string | undefined> {
  let at = 0;
  let different: string | undefined;
  const compare = (got: string): void => {
    const line = wanted[at++];
    if (line === undefined || !says(got, line)) different ??= pathOf(got);
  };
  await runCommand(argv, { ...options, onLine: compare });
  return different ?? (at < wanted.length ? pathOf(wanted[at]) : undefined);
}

/** Whether a line about the tree has every fact of the archive's line. File flags may differ: file systems vary. */
function says(got: string, wanted: string): boolean {
  const has = new Set(factsOf(got));
  return factsOf(wanted).every((fact) => has.has(fact) || fact.startsWith("flags="));
}

function factsOf(line: string): string[] {
  return line.split(" ").map((fact) => fact.replace(/^sha(512)?256digest=/, "digest="));
}

/** The path in a line. It ends at the first blank: casync writes blanks in a path as `\\040`. */
function pathOf(line: string | undefined): string {
  return line?.split(" ", 1)[0] ?? "";
}
