/** `berth new NAME`: writes the file of a berth, after the checks of `berth check`. It starts nothing. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { type Accounts, systemAccounts } from "../../accounts.ts";
import { connect } from "../../client/connect.ts";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { BERTH_NAME_RULE, type BerthName, parseBerthName } from "../../config/toml/name.ts";
import { formatProblem } from "../../config/toml/problem.ts";
import { BerthError } from "../../errors.ts";
import { native } from "../../native.ts";
import { printable, printableJson } from "../../printable.ts";
import { explainServer, sayWhyNothing } from "../explain/explained.ts";
import { isThere, problemsOf, writeBerth } from "../new/berth-file.ts";
import {
  folderOf,
  isAddress,
  mustBeFolder,
  type Place,
  type PortChoice,
  plainDraft,
  portChoice,
  recipeDraft,
} from "../new/draft.ts";
import { nextSteps, stopSettingsOf } from "../new/next-steps.ts";
import { type Ask, asking, canAsk } from "../new/questions.ts";
import { readRecipe, recipeNames } from "../new/recipes.ts";
import {
  type ConfigChoice,
  collect,
  configOption,
  forceOption,
  jsonOption,
  type SocketChoice,
  socketOption,
} from "../options.ts";
import { EXIT_REFUSED, EXIT_SYSTEM } from "../print/exit.ts";
import { print } from "../print/stdout.ts";

interface NewOptions extends ConfigChoice, SocketChoice {
  readonly from?: string;
  readonly listen?: readonly string[];
  readonly explain?: true;
  readonly for?: string;
  readonly port?: readonly PortChoice[];
  readonly user?: string;
  readonly directory?: string;
  readonly force?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

/** What the file is made from. */
type Source =
  | { readonly recipe: string }
  | { readonly listen: readonly string[] }
  | { readonly seconds: string | undefined };

/** A broker that does not answer at once is no reason to wait. */
const ANSWER_TIMEOUT_MS = 2000;

const help = `
The file goes to /etc/berthd, or of a user other than root to ~/.config/berthd; with --config, to the last folder named.
On a terminal, what is missing is asked for: a recipe or an address, and as root the server's user.
--port moves all ports of a recipe as far as the first one; --port SOCKET=PORT sets those of one socket.
--explain runs the server as berth explain does, and writes what it binds; end it with Ctrl-C or --for.
Exit status: 0 written, 1 refused with every problem, 100 usage, 111 system.

Examples:
  berth new tanks --from bzflag --user games
  berth new quake --from quake3 --port 27961 --directory /srv/quake --user games
  berth new quake --explain --for 10 --user games -- /usr/lib/ioquake3/ioq3ded +map q3dm1
  berth new arena --listen 'udp://*:27960' --user games -- /srv/arena/server --port {port:game}`;

export function addNew(program: Command): void {
  program
    .command("new")
    .description("write the file of a berth: from a recipe of a game, or from an address and a command")
    .argument("<name>", "the name of the berth")
    .argument("[command...]", "with --listen or --explain: the server")
    .addOption(socketOption())
    .addOption(new Option("--from <recipe>", "the game").choices(recipeNames()).conflicts("listen"))
    .option("--listen <address>", "where the server listens; repeat for more", collect)
    .addOption(
      new Option("--explain", "run the server, and take the addresses that it binds").conflicts(["from", "listen"]),
    )
    .addOption(new Option("--for <seconds>", "with --explain: end the server after this time"))
    .option("--port <port>", "another port than the recipe's; repeat for more", (text, all: PortChoice[] = []) => [
      ...all,
      portChoice(text),
    ])
    .option("--user <user>", "the user whom the server runs as")
    .option("--directory <path>", "the server's folder")
    .addOption(configOption())
    .addOption(forceOption("even if there is such a file, which is replaced"))
    .option("--dry-run", "print the file, but write nothing")
    .addOption(jsonOption("what was written").conflicts("dryRun"))
    .addHelpText("after", help)
    .action(async (text: string, words: string[], _options: NewOptions, command: Command) => {
      const options = command.optsWithGlobals<NewOptions>();
      await create(nameOf(text), words[0] === "--" ? words.slice(1) : words, options);
    });
}

async function create(name: BerthName, command: readonly string[], options: NewOptions): Promise<void> {
  const { directory, force = false, port: ports = [], json } = options;
  const directories = options.config?.map((path) => resolve(path)) ?? defaultConfigDirectories();
  const folder = directories.at(-1) ?? "";
  const path = join(folder, `${name.full}.toml`);
  if (!force && !options.dryRun && existsSync(path)) throw isThere(path);
  if (directory !== undefined) mustBeFolder(directory);
  const accounts = systemAccounts(native);
  const { source, user } = await complete(options, accounts);
  mustFit(source, ports, command);
  const place = { user, directory };
  const draft =
    "recipe" in source
      ? recipeDraft(name.full, source.recipe, readRecipe(source.recipe), ports, place)
      : "listen" in source
        ? plainDraft(name.full, source.listen, command, place)
        : await explainedDraft(name.full, source.seconds, command, place);
  if (draft === undefined) return;
  const problems = problemsOf([name.full], draft, path, directories, accounts);
  if (problems.length > 0) {
    const lines = problems.flatMap((problem) => formatProblem(problem).split("\n"));
    print(
      json ? `${printableJson({ file: null, problems }, 2)}\n` : `${lines.map(printable).join("\n")}\nnot written\n`,
    );
    process.exitCode = EXIT_REFUSED;
    return;
  }
  if (options.dryRun) {
    print(draft);
    return;
  }
  writeBerth(path, draft, folder, force);
  const next = nextSteps({
    name: name.full,
    isTemplate: name.kind === "template",
    isRoot: isRoot(),
    config: options.config === undefined && name.kind !== "template" ? [] : directories,
    user,
    missingFolder: missing(folderOf(draft)),
    brokerAnswers: await brokerAnswers(options.socket),
    hasSystemd: existsSync("/run/systemd/system"),
    hasUnits: ["/etc", "/usr/lib", "/lib"].some((root) => existsSync(`${root}/systemd/system/berthd.socket`)),
    hasCommand: /^command = /m.test(draft),
    stopSettings: stopSettingsOf(draft),
  });
  const recipe = "recipe" in source ? source.recipe : null;
  if (json) print(`${printableJson({ name: name.full, file: path, recipe, next }, 2)}\n`);
  else
    print(
      [
        `wrote   ${printable(path)}`,
        ...next.map((step, index) => `${index === 0 ? "next:" : ""}`.padEnd(8) + step),
        "",
      ].join("\n"),
    );
}

/** Asks for what is missing, or says which options it takes. */
async function complete(
  { from, listen, explain, for: seconds, user }: NewOptions,
  accounts: Accounts,
): Promise<{ source: Source; user: string | undefined }> {
  if (seconds !== undefined && !explain) throw new BerthError("USAGE", "--for needs --explain");
  const given: Source | undefined =
    from !== undefined
      ? { recipe: from }
      : listen !== undefined
        ? { listen }
        : explain === undefined
          ? undefined
          : { seconds };
  const needsUser = user === undefined && isRoot();
  if (given !== undefined && !needsUser) return { source: given, user };
  if (canAsk())
    return await asking(async (ask) => {
      const source = given ?? (await askSource(ask));
      return { source, user: needsUser ? await askUser(ask, accounts) : user };
    });
  if (given === undefined) {
    const recipes = `--from RECIPE (${recipeNames().join(", ")})`;
    throw new BerthError(
      "USAGE",
      `name a recipe: ${recipes}; or where the server listens: --listen 'udp://*:27960'; or run it: --explain -- COMMAND`,
    );
  }
  throw new BerthError("USAGE", "say whose server it is: --user USER (--user root if you mean it)");
}

async function askSource(ask: Ask): Promise<Source> {
  const recipes = recipeNames();
  process.stderr.write(`Recipes: ${recipes.join(" ")}\n`);
  const answer = await ask("Recipe, or an address such as udp://*:27960:", (text) =>
    recipes.includes(text) || isAddress(text) ? undefined : "That is neither a recipe nor an address.",
  );
  return recipes.includes(answer) ? { recipe: answer } : { listen: [answer] };
}

async function askUser(ask: Ask, accounts: Accounts): Promise<string> {
  return await ask("User whom the server runs as:", (text) => {
    if (text !== "" && (text === "range" || accounts.passwd(text) !== undefined)) return undefined;
    return `There is no user ${printable(text)}. Another terminal can make one: useradd --system NAME`;
  });
}

function mustFit(source: Source, ports: readonly PortChoice[], command: readonly string[]): void {
  if ("recipe" in source && command.length > 0)
    throw new BerthError("USAGE", "a recipe has its own command; change it in the file that is written");
  if ("listen" in source && ports.length > 0)
    throw new BerthError("USAGE", "--port changes a recipe; write the port into --listen");
  if ("seconds" in source && ports.length > 0)
    throw new BerthError("USAGE", "--port changes a recipe; give the server its port as it takes it");
  if ("seconds" in source && command.length === 0)
    throw new BerthError("USAGE", "the server is missing; write berth new NAME --explain -- COMMAND");
}

/** Undefined if there is no draft: what was wrong has been printed. */
async function explainedDraft(
  name: string,
  seconds: string | undefined,
  command: readonly string[],
  { user, directory }: Place,
): Promise<string | undefined> {
  const explained = await explainServer(name, command, { seconds, user: isRoot() ? user : undefined, directory });
  if (explained === undefined) {
    process.exitCode = EXIT_SYSTEM;
    return undefined;
  }
  if (explained.toml === undefined) {
    sayWhyNothing(explained.binds, command);
    process.exitCode = EXIT_REFUSED;
  }
  return explained.toml;
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

function nameOf(text: string): BerthName {
  const name = parseBerthName(text);
  if (name !== undefined) return name;
  throw new BerthError("USAGE", `"${printable(text)}" cannot name a berth: ${BERTH_NAME_RULE}`);
}

function missing(folder: string | undefined): string | undefined {
  return folder === undefined || existsSync(folder) ? undefined : folder;
}

async function brokerAnswers(socket: string | undefined): Promise<boolean> {
  try {
    const client = await connect({
      ...(socket !== undefined && { socket }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    client.close();
    return true;
  } catch {
    return false;
  }
}
