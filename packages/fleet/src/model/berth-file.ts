/** What the fleet knows of a berth file beside its ports. The broker reads the rest. */
import { isTable, type JsonObject } from "./fields.ts";

/** Whether its server writes to files that stay on the host: a root that is not volatile. */
export function keepsFiles({ root }: JsonObject): boolean {
  return isTable(root) && root["state"] !== "volatile";
}

/** An image that a root is made of. Without a version it means what is current on the host. */
export interface NamedImage {
  readonly name: string;
  readonly version?: string;
}

/** The images of a root, without those that are paths. */
export function imagesOfRoot({ image }: JsonObject): NamedImage[] {
  const names: readonly unknown[] = Array.isArray(image) ? image : [image];
  return names.flatMap((one) => {
    const [, name, version] = typeof one === "string" ? (IMAGE.exec(one) ?? []) : [];
    return name === undefined ? [] : [{ name, ...(version !== undefined && { version }) }];
  });
}

const IMAGE = /^([A-Za-z0-9][A-Za-z0-9_.-]{0,62})(?:@([A-Za-z0-9][A-Za-z0-9_.-]{0,62}))?$/;

/** Whether the broker starts its server when players come. */
export function startsOnDemand({ server }: JsonObject): boolean {
  return isTable(server) && server["start"] === "on-demand";
}
