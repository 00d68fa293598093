/** Finds berths whose servers would find their SDK at one port. Pure: other programs may have the port, too. */
import type { Conflict } from "./conflicts.ts";
import type { BerthSpec } from "./keys/spec.ts";
import { formatOrigin } from "./toml/problem.ts";

/** Every `server.sdk-grpc-port` and `server.sdk-http-port` that an earlier one of `berths` has too. */
export function findSdkConflicts(berths: readonly Pick<BerthSpec, "name" | "origin" | "server">[]): Conflict[] {
  const conflicts: Conflict[] = [];
  const owners = new Map<number, Pick<BerthSpec, "name" | "origin">>();
  for (const { name, origin, server } of berths) {
    const { sdk } = server;
    if (sdk === undefined) continue;
    for (const [key, port] of [["sdk-grpc-port", sdk.grpcPort] as const, ["sdk-http-port", sdk.httpPort] as const]) {
      const owner = owners.get(port) ?? { name, origin };
      owners.set(port, owner);
      if (owner.name === name) continue;
      const message = `${name} has server.${key} ${port}, a port of the SDK of ${owner.name}, ${formatOrigin(owner.origin)}`;
      const remedy = `write another server.${key} into one of them`;
      conflicts.push({ berth: name, problem: { file: origin.file, line: origin.line, message, remedy } });
    }
  }
  return conflicts;
}
