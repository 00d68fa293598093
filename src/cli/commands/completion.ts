/** `berth completion SHELL`: a script that completes commands, options and names of berths, for each program. */
import { execFileSync } from "node:child_process";
import { Argument, type Command } from "commander";
import { programPath } from "../../launcher-path.ts";
import { berthdCommand } from "../berthd-options.ts";
import { bashScript } from "../completion/bash.ts";
import { fishScript } from "../completion/fish.ts";
import { type NativeProgram, shapeOfHelp } from "../completion/native-shape.ts";
import { type CommandShape, shapeOf } from "../completion/shape.ts";
import { zshScript } from "../completion/zsh.ts";
import { print } from "../print/stdout.ts";

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };
type Shell = keyof typeof scripts;

const natives: readonly NativeProgram[] = ["berth-launch", "shift-own", "shift-mount"];
type Program = "berth" | "berthd" | NativeProgram;

const help = `
Without a program, the script is for berth.

Examples:
  source <(berth completion bash)                                      now; or in ~/.bashrc, for good
  source <(berth completion bash shift-own)
  berth completion zsh > ~/.zfunc/_berth                               with ~/.zfunc in fpath, before compinit
  berth completion zsh berthd > ~/.zfunc/_berthd
  berth completion fish > ~/.config/fish/completions/berth.fish`;

export function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("print a completion script for a shell")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(scripts)))
    .addArgument(
      new Argument("[program]", "the program that it completes")
        .choices(["berth", "berthd", ...natives])
        .default("berth"),
    )
    .addHelpText("after", help)
    .action((shell: Shell, name: Program) => print(scripts[shell](shapeFor(name, program))));
}

function shapeFor(name: Program, program: Command): CommandShape {
  if (name === "berth") return shapeOf(program);
  if (name === "berthd") return shapeOf(berthdCommand());
  return shapeOfHelp(name, execFileSync(programPath(name), ["--help"], { encoding: "utf8" }));
}
