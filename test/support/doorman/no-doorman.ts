/** Servers without a doorman: nobody can ask them who plays. */
import { expect } from "vitest";
import type { DrainOptions } from "../../../src/broker/drain/drain.ts";

export const noDoorman: DrainOptions["inquiries"] = {
  canAsk: () => false,
  ask: () => expect.unreachable("nobody can ask"),
  mayBeOurs: () => false,
};
