/** A mistake of the person who started the program, told as a sentence and without a stack. */
export class Fault extends Error {
  /** As in `berth`: 100 is wrong usage, 111 what the system refused. */
  readonly exitCode: 100 | 111;
  /** For programs: `--json` prints it. */
  readonly code: FaultCode;

  constructor(code: FaultCode, message: string) {
    super(message);
    this.code = code;
    this.exitCode = code === "USAGE" || code === "UNSAFE_ADDRESS" ? 100 : 111;
  }
}

export type FaultCode =
  | "USAGE"
  | "UNSAFE_ADDRESS"
  | "NO_SOCKET"
  | "LISTEN_FAILED"
  | "FILE_UNREADABLE"
  | "HISTORY_FAILED";
