/** `berth edit NAME`: opens an editor on the file of a berth, and saves what `berth check` accepts. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { systemAccounts } from "../../accounts.ts";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { formatProblem, type Problem } from "../../config/toml/problem.ts";
import { native } from "../../native.ts";
import { printable, printableJson } from "../../printable.ts";
import { mustBeBerth } from "../berths/berth-names.ts";
import { EditedFile } from "../edit/edited-file.ts";
import { editorCommand, runEditor } from "../edit/editor.ts";
import { problemsOf } from "../new/berth-file.ts";
import { shellWord } from "../new/next-steps.ts";
import { asking, canAsk } from "../new/questions.ts";
import {
  type BrokerChoice,
  type ConfigChoice,
  configOption,
  jsonOption,
  socketOption,
  timeoutOption,
} from "../options.ts";
import { EXIT_REFUSED } from "../print/exit.ts";
import { print } from "../print/stdout.ts";
import { askToReload, describeReloaded, type Reloaded } from "./reload.ts";

interface EditOptions extends BrokerChoice, ConfigChoice {
  readonly reload?: true;
  readonly json?: true;
}

/** How it ended, if it did not fail. */
type Outcome =
  | { readonly kind: "unchanged" | "saved" | "discarded" }
  /** Nobody was there to ask. */
  | { readonly kind: "refused"; readonly problems: readonly Problem[] };

const help = `
The editor is $VISUAL, or $EDITOR, or the first of editor, sensible-editor, nano, vim and vi. It gets a copy. What it
saves is checked as by berth check. It replaces the file as a whole if it has no problem, and causes none elsewhere.
With a problem, a terminal is asked whether to edit again or to discard; otherwise nothing is saved. A copy that is not
saved is kept, and its path printed.
The file is NAME.toml in /etc/berthd, or of a user other than root in ~/.config/berthd; with --config, in the last folder
named. A link is followed to the file that it leads to.
Exit status: 0 saved, or nothing to save; 1 refused, as the text has problems or somebody else has changed the file;
100 usage; 111 the editor failed, or the system prevents it.

Examples:
  berth edit worlds
  berth edit --reload arena@
  VISUAL='sed -i s/27960/27961/g' berth edit quake`;

export function addEdit(program: Command): void {
  program
    .command("edit")
    .description("change the file of a berth in an editor; check it before it is saved")
    .argument("<berth>", "the name of the berth, or of a template")
    .option("--reload", "have the broker read the configuration again")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(configOption())
    .addOption(jsonOption("the result"))
    .addHelpText("after", help)
    .action((name: string, _options: EditOptions, command: Command) =>
      edit(name, command.optsWithGlobals<EditOptions>()),
    );
}

async function edit(name: string, options: EditOptions): Promise<void> {
  mustBeBerth(name, "or template");
  const editor = editorCommand();
  const directories = options.config?.map((path) => resolve(path)) ?? defaultConfigDirectories();
  const file = new EditedFile(name, directories);
  let isKept = false;
  try {
    const outcome = await editUntilSound(file, editor, directories, options.json === true);
    isKept = outcome.kind === "refused";
    if (isKept) process.exitCode = EXIT_REFUSED;
    const reloaded = outcome.kind === "saved" && options.reload ? await askToReload(options) : null;
    print(options.json ? jsonResult(file, outcome, reloaded) : describe(file, outcome, reloaded, options));
  } catch (error) {
    isKept = file.isUnsaved;
    throw error;
  } finally {
    if (isKept) process.stderr.write(`berth: what you wrote is kept: ${printable(file.copy)}\n`);
    else file.forget();
  }
}

async function editUntilSound(
  file: EditedFile,
  editor: string,
  directories: readonly string[],
  isJson: boolean,
): Promise<Outcome> {
  for (;;) {
    await runEditor(editor, file.copy);
    const text = file.edited();
    if (text === undefined) return { kind: "unchanged" };
    const problems = problemsOf(file.names, text, file.path, directories, systemAccounts(native));
    if (problems.length === 0) {
      file.save(text);
      return { kind: "saved" };
    }
    if (isJson) return { kind: "refused", problems };
    const lines = problems.flatMap((problem) => formatProblem(problem).split("\n"));
    process.stderr.write(`${lines.map(printable).join("\n")}\n`);
    if (!canAsk()) return { kind: "refused", problems };
    if (!(await wantsToEditAgain())) return { kind: "discarded" };
  }
}

async function wantsToEditAgain(): Promise<boolean> {
  const answer = await asking((ask) =>
    ask("Edit again, or discard what you wrote? [edit/discard]", (text) =>
      /^(e|edit|d|discard)$/i.test(text) ? undefined : "Answer edit or discard.",
    ),
  );
  return /^e/i.test(answer);
}

function jsonResult(file: EditedFile, outcome: Outcome, reloaded: Reloaded | null): string {
  const isRefused = outcome.kind === "refused";
  const problems = isRefused ? outcome.problems : [];
  const copy = isRefused ? file.copy : null;
  return `${printableJson({ file: file.path, result: outcome.kind, problems, copy, reloaded }, 2)}\n`;
}

function describe({ path }: EditedFile, { kind }: Outcome, reloaded: Reloaded | null, { socket }: EditOptions): string {
  if (kind === "refused") return "not saved\n";
  if (kind !== "saved") return `${kind}: ${printable(path)} is as it was\n`;
  const next = `berth reload${socket === undefined ? "" : ` --socket ${shellWord(socket)}`}`;
  const after = reloaded === null ? `next:   ${next}\n` : describeReloaded(reloaded);
  return `saved   ${printable(path)}\n${after}`;
}
