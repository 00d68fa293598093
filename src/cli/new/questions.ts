/** Asks on a terminal for what a command line does not say. An answer that cannot be used is asked for again. */
import { createInterface } from "node:readline";
import { BerthError } from "../../errors.ts";

/** Asks one question until `accept` takes the answer: a string is why it does not. */
export type Ask = (question: string, accept: (answer: string) => string | undefined) => Promise<string>;

/** Asks on the standard streams while `work` runs. The end of input is an error, not an answer. */
export async function asking<T>(work: (ask: Ask) => Promise<T>): Promise<T> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const lines = terminal[Symbol.asyncIterator]();
  try {
    return await work(async (question, accept) => {
      for (;;) {
        terminal.setPrompt(`${question} `);
        terminal.prompt();
        const { value, done } = await lines.next();
        if (done) throw new BerthError("USAGE", "the input ended before the last answer; nothing was written");
        const answer = String(value).trim();
        const why = accept(answer);
        if (why === undefined) return answer;
        process.stderr.write(`${why}\n`);
      }
    });
  } finally {
    terminal.close();
  }
}

/** Whether somebody is there to answer. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}
