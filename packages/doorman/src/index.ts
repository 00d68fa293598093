/** Which packets of game clients are status queries, which are joins, and what a sleeping server answers. */
import type { DatagramName, DatagramProtocol } from "./protocol.ts";
import { a2s } from "./protocols/a2s.ts";
import { bedrock } from "./protocols/bedrock.ts";
import { quake3 } from "./protocols/quake3.ts";
import { teeworlds } from "./protocols/teeworlds/teeworlds.ts";

export { AnswerBudget, type BudgetLimits, DEFAULT_BUDGET, networkOf } from "./budget.ts";
export { Challenges } from "./challenge.ts";
export type { Inquiry } from "./inquiry.ts";
export type {
  Answer,
  Challenge,
  Conversation,
  DatagramName,
  DatagramProtocol,
  Kind,
  SleepingServer,
  StreamProtocol,
  Turn,
} from "./protocol.ts";
export { minecraft } from "./protocols/minecraft/minecraft.ts";

/** The protocols of datagrams, by name. */
export const datagramProtocols: Readonly<Record<DatagramName, DatagramProtocol>> = { a2s, bedrock, quake3, teeworlds };
