/** One thing that `berth doctor` looked at. Pure. */

export interface Finding {
  /** A word for programs: it stays the same in later versions. */
  readonly check: string;
  /** `problem`: something does not work. `advice`: it works, and could be better. */
  readonly level: "fine" | "advice" | "problem";
  readonly message: string;
  /** A command that works when pasted, or where there is none, what to do. */
  readonly remedy?: string;
}

export function fine(check: string, message: string): Finding {
  return { check, level: "fine", message };
}

export function advice(check: string, message: string, remedy: string): Finding {
  return { check, level: "advice", message, remedy };
}

export function problem(check: string, message: string, remedy: string): Finding {
  return { check, level: "problem", message, remedy };
}
