/** The problem of a vacant berth whose socket could not be opened again after its last server. */
import type { BerthSpec } from "../../../config/keys/spec.ts";
import type { Problem } from "../../../config/toml/problem.ts";
import type { NamedSocket } from "../../sockets/named-socket.ts";

const REMEDY =
  "another process has the address: find it with `ss -apn` and end it; the berth can be taken, without this socket";

/** Undefined if it was. */
export function lostProblem(spec: BerthSpec, { name, socket }: NamedSocket): Problem | undefined {
  const { lost } = socket;
  if (lost === undefined) return undefined;
  const origin = spec.sockets.find((one) => one.name === name)?.listen[0]?.origin ?? spec.origin;
  return { ...origin, message: `berth ${spec.name}: socket ${name} ${lost}`, remedy: REMEDY };
}
