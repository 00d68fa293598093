/** The problem of a vacant berth whose socket could not be opened again after its last server. */
import type { BerthSpec } from "../../../config/keys/spec.ts";
import type { Problem } from "../../../config/toml/problem.ts";

const TAKEN = "another process has the address: find it with `ss -apn` and end it";
const OTHER = "remove the cause that the message names";
const UNTIL_THEN = "the berth can be taken, without this socket";

/** As a NamedSocket. */
interface NamedLoss {
  readonly name: string;
  readonly socket: { readonly lost: string | undefined };
}

/** Undefined if the socket is not lost. */
export function lostProblem(spec: BerthSpec, { name, socket }: NamedLoss): Problem | undefined {
  const { lost } = socket;
  if (lost === undefined) return undefined;
  const origin = spec.sockets.find((one) => one.name === name)?.listen[0]?.origin ?? spec.origin;
  const remedy = `${lost.includes("EADDRINUSE") ? TAKEN : OTHER}; ${UNTIL_THEN}`;
  return { ...origin, message: `berth ${spec.name}: socket ${name} ${lost}`, remedy };
}
