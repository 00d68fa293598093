/** `berth completion SHELL`: a script that completes commands, options and names of berths. */
import { Argument, type Command } from "commander";
import { bashScript } from "../completion/bash.ts";
import { fishScript } from "../completion/fish.ts";
import { shapeOf } from "../completion/shape.ts";
import { zshScript } from "../completion/zsh.ts";
import { print } from "../stdout.ts";

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };
type Shell = keyof typeof scripts;

const help = `
Examples:
  source <(berth completion bash)                                      now; or in ~/.bashrc, for good
  berth completion zsh > ~/.zfunc/_berth                               with ~/.zfunc in fpath, before compinit
  berth completion fish > ~/.config/fish/completions/berth.fish`;

export function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("print a completion script for a shell")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(scripts)))
    .addHelpText("after", help)
    .action((shell: Shell) => print(scripts[shell](shapeOf(program))));
}
