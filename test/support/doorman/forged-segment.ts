/** TCP segments of an attacker who has no connection. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "../../fixtures/forged-segment.py");

/** Sends these bytes to a port of 127.0.0.1, in the name of another address of this host. As root only. */
export function forgeSegment(from: string, port: number, bytes: Uint8Array): void {
  execFileSync("python3", ["-S", PROGRAM, from, "4000", "127.0.0.1", String(port), Buffer.from(bytes).toString("hex")]);
}
