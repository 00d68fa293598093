/**
 * casync(1): trees out of chunks. Extracted as they are, never shifted in place (hazard 37): the owners' shift is an
 * idmapped mount's. `--without=user-names`: casync would look a name of the image up among the users of the host, and
 * give the file to whoever has it there.
 */
import { BerthError } from "../../errors.ts";
import { type CommandOptions, runCommand } from "./run-command.ts";

/** What an index needs to become a tree. */
export interface CasyncSource {
  /** Path, http(s)/ftp/sftp address, or HOST:PATH by ssh. */
  readonly index: string;
  /** Where the chunks are, one of them remote at most; none: `default.castr` beside the index. */
  readonly stores: readonly string[];
  /** Further options of casync. */
  readonly options: readonly string[];
}

/** Whether casync reaches it over the network: an address, or HOST:PATH. */
export function isRemote(location: string): boolean {
  return /^([a-z]+:\/\/|[^/]+:)/.test(location);
}

function common({ stores, options }: CasyncSource, seeds: readonly string[]): string[] {
  // casync fetches from --store only ("Protocol driver not attached" of an --extra-store): so a remote one goes there.
  const [first, ...others] = [...stores].sort((a, b) => Number(isRemote(b)) - Number(isRemote(a)));
  return [
    "--without=user-names",
    ...(first === undefined ? [] : [`--store=${first}`]),
    ...others.map((store) => `--extra-store=${store}`),
    ...seeds.map((seed) => `--seed=${seed}`),
    ...options,
  ];
}

/** Extracts into a folder that is not there yet. Chunks that a seed has are not fetched. Each chunk is checked. */
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

/** The digest that `casync make` printed for the archive. Chunks that the tree has are not fetched again. */
export async function archiveDigest(source: CasyncSource, tree: string, options: CommandOptions): Promise<string> {
  let digest = "";
  const onLine = (line: string): void => {
    digest = line.trim();
  };
  await runCommand(["casync", "digest", ...common(source, [tree]), source.index], { ...options, onLine });
  return digest;
}

/**
 * Compares what the archive says of each file with what casync finds in the tree: names, kinds, modes, owners, times,
 * links and digests of contents. Throws IMPORT_FAILED, naming the first that differs.
 */
export async function compareArchive(source: CasyncSource, tree: string, options: CommandOptions): Promise<void> {
  const wanted: string[] = [];
  const keep = (line: string): void => void wanted.push(line);
  await runCommand(["casync", "mtree", ...common(source, [tree]), source.index], { ...options, onLine: keep });
  let different: string | undefined;
  // It does not tell which of the two an archive was made with: it calls every digest sha512256.
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
    `what casync extracted is not what ${source.index} says: ${different} differs; the file system of the state folder ` +
      "cannot hold it, or the index was replaced meanwhile: try again",
  );
}

/** The path of the first line that a command prints otherwise than wanted, or not at all. */
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

/** Whether a line about the tree has all that the archive's has; file flags apart, of which not every file system has all. */
function says(got: string, wanted: string): boolean {
  const has = new Set(factsOf(got));
  return factsOf(wanted).every((fact) => has.has(fact) || fact.startsWith("flags="));
}

function factsOf(line: string): string[] {
  return line.split(" ").map((fact) => fact.replace(/^sha(512)?256digest=/, "digest="));
}

/** Blanks in a path are `\\040`, so it ends at the first one. */
function pathOf(line: string | undefined): string {
  return line?.split(" ", 1)[0] ?? "";
}
