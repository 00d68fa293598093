/** One berth's merged table → its BerthSpec. Pure. It reports every problem, and goes on with the key's default. */
import { type BerthName, specifiersOf } from "../toml/name.ts";
import type { Origin } from "../toml/problem.ts";
import { type Context, emptyTable } from "../toml/section.ts";
import { suggest } from "../toml/suggest.ts";
import { expandTable, type Table } from "../toml/tree.ts";
import { readRoot, rootKeys } from "./root.ts";
import { readServer, serverKeys } from "./server.ts";
import { readSockets, socketKeys } from "./sockets.ts";
import type { BerthSpec } from "./spec.ts";
import { readTenant, tenantKeys } from "./tenant.ts";

const sectionNames = ["sockets", "root", "tenant", "observer", "server"];

/** Validates a berth. The result may be used only if nothing was reported. */
export function readBerth(
  { name, origin, table }: { readonly name: BerthName; readonly origin: Origin; readonly table: Table },
  context: Context,
): BerthSpec {
  const { entries } = expandTable(table, specifiersOf(name), context.report);
  for (const [key, value] of entries) {
    if (sectionNames.includes(key)) continue;
    context.report(value.origin, `there is no section or key "${key}"`, suggest(key, sectionNames));
  }
  const absent = emptyTable({ origin });
  const written = entries.get("sockets") ?? absent;
  const sockets = readSockets(written, context);
  const rootTable = entries.get("root");
  const root = rootTable === undefined ? undefined : readRoot(rootTable, context);
  if (written.kind === "table" && written.entries.size === 0 && root === undefined) {
    context.report(
      origin,
      `${name.full} has no sockets and no root, so it has nothing to hand over`,
      'add [sockets.NAME] with listen = ["…"], or [root] with image = "…"',
    );
  }
  if (written.kind === "table" && root !== undefined) {
    const rival = written.entries.get("root");
    if (rival !== undefined)
      context.report(
        rival.origin,
        'a berth with [root] cannot have a socket called "root"',
        "write [sockets.NAME] with another name",
      );
  }
  const server = readServer(entries.get("server") ?? absent, { sockets, root: root !== undefined }, context);
  const binds = rootTable?.kind === "table" ? rootTable.entries.get("binds") : undefined;
  if (binds !== undefined && !server.enter)
    context.report(
      binds.origin,
      "[root.binds] has no effect unless the server enters the root",
      "add enter = true to [server]",
    );
  const observer = entries.get("observer");
  return {
    name: name.full,
    origin,
    sockets,
    tenant: readTenant(entries.get("tenant") ?? absent, context),
    ...(observer !== undefined && { observer: readTenant(observer, context, "observer") }),
    server,
    ...(root !== undefined && { root }),
  };
}

/** A key of the configuration, for the test that holds docs/configuration.md against the program. */
export interface ConfigurationKey {
  readonly section: string;
  readonly key: string;
  readonly type: string;
  readonly default: string | undefined;
  readonly unit: string | undefined;
  /** The sockets it applies to; undefined: all. */
  readonly appliesTo: string | undefined;
}

/** Every key there is, by section, in the order of the documentation. */
export function configurationKeys(): ConfigurationKey[] {
  const sections = [
    ["sockets.NAME", socketKeys],
    ["root", rootKeys],
    ["tenant", tenantKeys],
    ["observer", tenantKeys],
    ["server", serverKeys],
  ] as const;
  return sections.flatMap(([section, keys]) =>
    keys.map((key) => ({
      section,
      key: key.name,
      type: key.type,
      default: key.default,
      unit: key.unit,
      appliesTo: key.appliesTo,
    })),
  );
}
