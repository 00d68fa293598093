/** The methods Drain and CancelDrain. */

import { LONGEST_DRAIN_SECONDS } from "../../berth-state.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import { type Answer, answer, invalidParameter } from "../../varlink/service.ts";
import type { Requester } from "../berths/request.ts";
import type { Drains } from "../drain/drains.ts";
import { refusal } from "./refusals.ts";

export async function drain(
  drains: Drains,
  who: Requester,
  { berth, within }: BrokerMethods["Drain"]["parameters"],
): Promise<Answer> {
  const seconds = within ?? undefined;
  if (seconds !== undefined && (seconds < 1 || seconds > LONGEST_DRAIN_SECONDS))
    return invalidParameter("within", `within must be a number of seconds from 1 to ${LONGEST_DRAIN_SECONDS}`);
  const done = await drains.begin(berth, who, seconds);
  if (done.kind !== "begun") return refusal(done);
  const { kind: _, ...begun } = done;
  return answer(begun satisfies BrokerMethods["Drain"]["reply"]);
}

export async function cancelDrain(drains: Drains, who: Requester, berth: string): Promise<Answer> {
  const done = await drains.cancel(berth, who);
  if (done.kind !== "cancelled") return refusal(done);
  const { kind: _, ...cancelled } = done;
  return answer(cancelled satisfies BrokerMethods["CancelDrain"]["reply"]);
}
