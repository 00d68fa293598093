/** What went wrong, as a sentence for the person at the command line. */

export type FaultCode =
  | "USAGE"
  | "INVALID_RECORD"
  | "ETCD_UNREACHABLE"
  | "ETCD_REFUSED"
  | "ETCD_DENIED"
  | "NO_SUCH_SET"
  | "NO_SUCH_ALLOCATION"
  | "NO_SUCH_BERTH"
  | "NO_SUCH_HOST"
  | "NO_FIT"
  | "NOT_MOVED"
  | "NO_CASYNC"
  | "BAD_ARCHIVE"
  | "STORE_FULL"
  | "STORE_UNREACHABLE"
  | "STATE_REFUSED"
  | "COPY_FAILED"
  | "NONE_READY"
  | "CONTENDED"
  | "FILE_UNREADABLE";

/** Shown without a stack. `code` is for programs. */
export class Fault extends Error {
  readonly code: FaultCode;

  constructor(code: FaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
