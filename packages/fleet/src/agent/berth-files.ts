/**
 * The folder of berth files that the agent writes and the broker reads. The first line of each has its generation. An
 * empty file `.NAME.unstarted` beside it, which the broker does not read, says that the berth has not begun here.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { stringify } from "smol-toml";
import { isTable, type JsonObject } from "../model/fields.ts";
import type { Assignment } from "../model/placement.ts";

/** Of a berth that is at the broker only for its files. */
const STAGED = "# Written by berth-fleet, to copy files.\n";
const UNSTARTED = /^\.(.+)\.unstarted$/;
const HEAD = /^# Written by berth-fleet\. Generation (\d+)\.\n/;

/** The variable in the environment of servers. */
const GENERATION = "BERTH_GENERATION";

export class BerthFiles {
  readonly folder: string;
  readonly #others: readonly string[];
  /** Those whose file is there to copy files, or was until the broker has read that it is not. */
  readonly #staged = new Set<string>();
  readonly #unstarted = new Set<string>();

  /** Makes the folder if it is not there. `others`: the other folders that the broker reads. */
  constructor(folder: string, others: readonly string[] = []) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.folder = folder;
    this.#others = others.filter((one) => resolve(one) !== resolve(folder));
    for (const [berth, text] of this.#texts()) if (text.startsWith(STAGED)) this.#staged.add(berth);
    for (const file of readdirSync(folder)) {
      const berth = UNSTARTED.exec(file)?.[1];
      if (berth !== undefined) this.#unstarted.add(berth);
    }
  }

  /**
   * A file of this name that is not the fleet's: a berth, a mask, or drop-ins that the fleet's berth would get. Only
   * for a berth without a file of ours. Throws what lstat(2) fails with.
   */
  inTheWayOf(berth: string): string | undefined {
    const paths = this.#others.flatMap((one) => [join(one, `${berth}.toml`), join(one, `${berth}.toml.d`)]);
    // Also a link that leads nowhere, or to /dev/null.
    return [join(this.folder, `${berth}.toml`), ...paths].find((path) => lstatSync(path, { throwIfNoEntry: false }));
  }

  /** The generation of each berth that has a file. Files of others are not ours. */
  read(): Map<string, number> {
    const found = new Map<string, number>();
    for (const [berth, text] of this.#texts()) {
      const generation = HEAD.exec(text)?.[1];
      if (generation !== undefined) found.set(berth, Number(generation));
    }
    return found;
  }

  *#texts(): Generator<[berth: string, text: string], void, void> {
    for (const file of readdirSync(this.folder))
      if (file.endsWith(".toml")) yield [file.slice(0, -".toml".length), readFileSync(join(this.folder, file), "utf8")];
  }

  write({ berth, generation, config }: Assignment): void {
    // First: an agent that is killed in between leaves no file that looks as if its server had run here.
    writeFileSync(this.#unstartedPath(berth), "", { mode: 0o600 });
    this.#unstarted.add(berth);
    const text = `# Written by berth-fleet. Generation ${generation}.\n${stringify(withGeneration(config, generation))}\n`;
    this.#write(berth, text);
  }

  /** Whether no start of a server has succeeded since the file was written, by this agent or by one before it. */
  isUnstarted(berth: string): boolean {
    return this.#unstarted.has(berth);
  }

  /** A start of its server has succeeded. */
  setStarted(berth: string): void {
    if (!this.#unstarted.delete(berth)) return;
    try {
      rmSync(this.#unstartedPath(berth), { force: true });
    } catch {
      // The next agent waits for the lease once more.
    }
  }

  #unstartedPath(berth: string): string {
    return join(this.folder, `.${berth}.unstarted`);
  }

  /** Only its root: such a berth has no sockets, and nothing starts a server of it. */
  stage(berth: string, root: JsonObject): void {
    this.#write(berth, `${STAGED}${stringify({ root })}\n`);
    this.#staged.add(berth);
  }

  /** Until {@link unstage}. Also one whose file a killed agent has left. */
  isStaged(berth: string): boolean {
    return this.#staged.has(berth);
  }

  staged(): string[] {
    return [...this.#staged];
  }

  /** The broker has read that it has no file. */
  unstage(berth: string): void {
    this.#staged.delete(berth);
  }

  #write(berth: string, text: string): void {
    const path = join(this.folder, `${berth}.toml`);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(berth: string): void {
    rmSync(join(this.folder, `${berth}.toml`), { force: true });
    this.setStarted(berth); // with its file, that it had not begun
  }
}

/** As berthd reads them without --config (test/fleet/agent/berth-files.test.ts). */
export function defaultConfigFolders(
  env: NodeJS.ProcessEnv = process.env,
  uid: number = process.geteuid?.() ?? 0,
): string[] {
  if (uid === 0) return ["/usr/lib/berthd", "/etc/berthd"];
  const configured = env["XDG_CONFIG_HOME"];
  return [join(configured?.startsWith("/") ? configured : join(env["HOME"] || homedir(), ".config"), "berthd")];
}

/**
 * The server learns its generation, for a store that several hosts share: the store refuses a writer with a lower one
 * than it has seen (test/fleet/fencing.test.ts). A berth file without a server, or that is wrong there, stays as it is.
 */
function withGeneration(config: JsonObject, generation: number): JsonObject {
  const { server } = config;
  if (!isTable(server)) return config;
  const { environment = {} } = server;
  if (!isTable(environment)) return config;
  return { ...config, server: { ...server, environment: { ...environment, [GENERATION]: String(generation) } } };
}
