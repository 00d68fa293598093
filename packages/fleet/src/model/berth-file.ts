/** What the fleet knows of a berth file beside its ports. The broker reads the rest. */
import { isTable, type JsonObject } from "./fields.ts";

/** Whether its server writes to files that stay on the host: a root that is not volatile. */
export function keepsFiles({ root }: JsonObject): boolean {
  return isTable(root) && root["state"] !== "volatile";
}

/** Whether the broker starts its server when players come. */
export function startsOnDemand({ server }: JsonObject): boolean {
  return isTable(server) && server["start"] === "on-demand";
}
