/**
 * Reads the drafts of all berths: directories → files → merged tables → drafts. A reader that reads again takes what is
 * as before from the last time: a berth without problems whose files, template and users have not changed has the same
 * draft, the same object. It reads in steps, so that a broker can serve between them.
 */
import type { Accounts } from "../accounts.ts";
import { Crowds } from "./conflicts.ts";
import { readBerth } from "./keys/berth.ts";
import type { BerthSpec, ServerSpec } from "./keys/spec.ts";
import { KnownAccounts, type Lookup } from "./known-accounts.ts";
import { type ComposedBerth, composeBerths, isSameList, TemplateCache } from "./toml/compose.ts";
import { concerns } from "./toml/concern.ts";
import { FileCache } from "./toml/file-cache.ts";
import { type BerthName, parseBerthName } from "./toml/name.ts";
import { type Origin, type Problem, ProblemList } from "./toml/problem.ts";
import { readConfigFiles } from "./toml/read-files.ts";
import { emptyTable } from "./toml/section.ts";

export interface LoadOptions {
  /** In rising precedence: `["/usr/lib/berthd", "/etc/berthd"]`. A directory that does not exist is skipped. */
  readonly directories: readonly string[];
  readonly accounts: Accounts;
}

/** A berth that cannot be used as it is configured. */
export interface TroubledBerth {
  readonly name: string;
  readonly origin: Origin;
  readonly problems: readonly Problem[];
  /** What could be read of it, with defaults for the rest. */
  readonly draft: BerthSpec;
}

/** Berths as they were read, before two of them are compared. */
export interface Drafts {
  /** By name. `problems` are those of their files. */
  readonly berths: readonly TroubledBerth[];
  /** What concerns no single berth. */
  readonly general: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** The directories that exist. */
  readonly directories: readonly string[];
  /** What {@link Crowds} finds of the drafts. Absent: it was not looked for. */
  readonly crowded?: ReadonlySet<string>;
}

/** A berth as it was read, and from what. */
interface Read {
  readonly parts: ComposedBerth["parts"];
  readonly lookups: readonly Lookup[];
  readonly berth: TroubledBerth;
  /** Whether reading the same again would give the same, and reports nothing. */
  readonly isWhole: boolean;
}

const noProblems: readonly Problem[] = [];

export class DraftReader {
  readonly #directories: readonly string[];
  readonly #accounts: KnownAccounts;
  readonly #files = new FileCache();
  readonly #templates = new TemplateCache();
  #known: ReadonlyMap<string, Read> = new Map();
  /** By what they say, during a reading; and the one of the last berth. */
  readonly #servers = new Map<string, ServerSpec>();
  #lastServer: ServerSpec | undefined;

  constructor({ directories, accounts }: LoadOptions) {
    this.#directories = directories;
    this.#accounts = new KnownAccounts(accounts);
  }

  /** Reads, and stops after each file and each berth. Its problems are in the result, never thrown. */
  *read(): Generator<undefined, Drafts> {
    const ofFiles = new ProblemList();
    const warnings = new ProblemList();
    const files = yield* readConfigFiles(this.#directories, this.#files, ofFiles.report, warnings.report);
    this.#accounts.begin();
    const known = new Map<string, Read>();
    const berths: TroubledBerth[] = [];
    const crowds = new Crowds();
    for (const one of composeBerths(files, ofFiles.report, this.#templates)) {
      yield;
      const before = this.#known.get(one.name.full);
      const read = before !== undefined && isSame(before, one) ? before : this.#draft(one);
      if (read.isWhole) known.set(one.name.full, read);
      berths.push(read.berth);
      crowds.add(read.berth.draft);
    }
    this.#known = known;
    this.#servers.clear();
    this.#lastServer = undefined;
    const { directories } = files;
    return {
      ...share(berths, ofFiles, this.#directories),
      warnings: warnings.sorted(),
      directories,
      crowded: crowds.found,
    };
  }

  #draft({ name, origin, parts, table }: ComposedBerth): Read {
    const lookups: Lookup[] = [];
    const accounts = this.#accounts.noting(lookups);
    const problems = new ProblemList();
    const merged = table();
    const draft =
      merged === undefined
        ? blank(name, origin, accounts)
        : readBerth({ name, origin, table: merged }, { report: problems.report, accounts });
    const found = problems.sorted();
    const shared = { ...draft, server: this.#shared(draft.server) };
    const berth = { name: name.full, origin, problems: found.length === 0 ? noProblems : found, draft: shared };
    // Copied to its exact length: it is kept.
    return { parts, lookups: [...lookups], berth, isWhole: merged !== undefined && found.length === 0 };
  }

  /** One object for all servers that are alike. */
  #shared(server: ServerSpec): ServerSpec {
    // Most are like the one before. To write it as JSON takes ten times as long as to compare the two.
    if (this.#lastServer !== undefined && hasSameValues(server, this.#lastServer)) return this.#lastServer;
    const text = JSON.stringify(server);
    const known = this.#servers.get(text) ?? server;
    this.#servers.set(text, known);
    this.#lastServer = known;
    return known;
  }
}

/** Whether both have the same keys, with the same values or objects. */
function hasSameValues(a: object, b: object): boolean {
  const keys = Object.keys(a);
  const hasSame = (key: string): boolean => Object.hasOwn(b, key) && Reflect.get(a, key) === Reflect.get(b, key);
  return keys.length === Object.keys(b).length && keys.every(hasSame);
}

/** What berths of these names would be without a file: they have nothing. A name that no berth can have is left out. */
export function draftsOf(names: readonly string[], accounts: Accounts): BerthSpec[] {
  return names.flatMap((full) => {
    const name = parseBerthName(full);
    return name === undefined || name.kind === "template" ? [] : [blank(name, { file: full, line: 1 }, accounts)];
  });
}

function blank(name: BerthName, origin: Origin, accounts: Accounts): BerthSpec {
  return readBerth({ name, origin, table: emptyTable({ origin }) }, { report: () => undefined, accounts });
}

function isSame({ parts, lookups }: Read, now: ComposedBerth): boolean {
  return isSameList(parts, now.parts) && lookups.every((isSameEntry) => isSameEntry());
}

/** Adds the problems of files to those of the berths that they concern; the others are general. */
function share(
  berths: readonly TroubledBerth[],
  ofFiles: ProblemList,
  directories: readonly string[],
): Pick<Drafts, "berths" | "general"> {
  const found = ofFiles.sorted();
  if (found.length === 0) return { berths, general: noProblems };
  const names = berths.map(({ name }) => parseBerthName(name)).filter((name) => name !== undefined);
  const concerned = concerns(directories, names);
  const general: Problem[] = [];
  const byBerth = new Map<string, ProblemList>();
  const add = (name: string, problem: Problem): void => {
    const list = byBerth.get(name) ?? new ProblemList();
    byBerth.set(name, list);
    list.report(problem, problem.message, problem.remedy);
  };
  for (const problem of found) {
    const names = concerned(problem.file);
    if (names.length === 0) general.push(problem);
    for (const name of names) add(name, problem);
  }
  const withTheirs = berths.map((berth) => {
    if (!byBerth.has(berth.name)) return berth;
    for (const problem of berth.problems) add(berth.name, problem);
    return { ...berth, problems: byBerth.get(berth.name)?.sorted() ?? noProblems };
  });
  return { berths: withTheirs, general };
}
