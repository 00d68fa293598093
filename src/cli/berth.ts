#!/usr/bin/env node
/** `berth`: what people and scripts ask a broker. It only starts the program; the commands are in commands/. */
import { CommanderError } from "commander";
import { EXIT_USAGE, fail } from "./print/exit.ts";

async function run(): Promise<void> {
  try {
    // Imported here, so that an addon which is not built is a sentence like every other error.
    const { createProgram } = await import("./program.ts");
    const program = await createProgram(process.argv.slice(2));
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
    else fail("berth", error);
  }
}

void run();
