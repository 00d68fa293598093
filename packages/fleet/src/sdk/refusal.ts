/** Why a call of a server is refused: with the code of gRPC, and the status of HTTP that grpc-gateway makes of it. */

/** https://grpc.github.io/grpc/core/md_doc_statuscodes.html, and google/rpc/code.proto for the statuses. */
const CODES = {
  INVALID_ARGUMENT: [3, 400],
  NOT_FOUND: [5, 404],
  ALREADY_EXISTS: [6, 409],
  RESOURCE_EXHAUSTED: [8, 429],
  FAILED_PRECONDITION: [9, 400],
  OUT_OF_RANGE: [11, 400],
  UNIMPLEMENTED: [12, 501],
  INTERNAL: [13, 500],
  UNAVAILABLE: [14, 503],
} as const;

export type RefusalCode = keyof typeof CODES;

/** What a client is told. A defect ends only the call: other servers use this process, too. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  console.error("berth-sdk: a defect, please report it: %s", error instanceof Error ? error.stack : error);
  return new Refusal("INTERNAL", "berth-sdk has a defect; its log says more");
}

export class Refusal extends Error {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }

  get grpc(): number {
    return CODES[this.code][0];
  }

  get http(): number {
    return CODES[this.code][1];
  }
}
