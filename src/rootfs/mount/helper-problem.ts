/** Waits for a helper program, and says what went wrong. It starts and ends none. */
import type { ChildProcess } from "node:child_process";

/** Bytes of an error message that are kept: its end. */
const MAX_ERROR_LENGTH = 2000;

/** Waits until `program` ends. Undefined when it succeeded, else its error message, or how it ended. */
export async function helperProblem(child: ChildProcess, program: string): Promise<string | undefined> {
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-MAX_ERROR_LENGTH);
  });
  const end = await new Promise<string | number>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal ?? code ?? 0));
  });
  if (end === 0) return undefined;
  const prefix = `${program}: `;
  const text = errors.trim();
  return (text.startsWith(prefix) ? text.slice(prefix.length) : text) || `${program} ended with ${end}`;
}
