/** The broker's vendor, version and URL, as org.varlink.service.GetInfo returns them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../native.ts";
import type { ServiceInfo } from "../../varlink/service.ts";

export function serviceInfo(): ServiceInfo {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return { vendor: "berthd", product: "berthd", version, url: "https://github.com/berthd/berthd" };
}
