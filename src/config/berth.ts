/** One berth's merged table → its BerthSpec. Pure. It reports all that is wrong; where a value is, its default stands. */
import type { ComposedBerth } from "./compose.ts";
import { specifiersOf } from "./name.ts";
import { readRoot, rootKeys } from "./root.ts";
import { type Context, emptyTable } from "./section.ts";
import { readServer, serverKeys } from "./server.ts";
import { readSockets, socketKeys } from "./sockets.ts";
import type { BerthSpec } from "./spec.ts";
import { suggest } from "./suggest.ts";
import { readTenant, tenantKeys } from "./tenant.ts";
import { expandTable } from "./tree.ts";

const sectionNames = ["sockets", "root", "tenant", "server"];

/** Validates a berth. The result may be used only if nothing was reported. */
export function readBerth({ name, origin, table }: ComposedBerth, context: Context): BerthSpec {
  const { entries } = expandTable(table, specifiersOf(name), context.report);
  for (const [key, value] of entries) {
    if (sectionNames.includes(key)) continue;
    context.report(value.origin, `there is no section or key "${key}"`, suggest(key, sectionNames));
  }
  const none = emptyTable({ origin });
  const written = entries.get("sockets") ?? none;
  const sockets = readSockets(written, context);
  const rootTable = entries.get("root");
  const root = rootTable === undefined ? undefined : readRoot(rootTable, context);
  if (written.kind === "table" && written.entries.size === 0 && root === undefined) {
    context.report(
      origin,
      `${name.full} has no sockets and no root, so there is nothing to hand over`,
      'add [sockets.NAME] with listen = ["…"], or [root] with image = "…"',
    );
  }
  if (written.kind === "table" && root !== undefined) {
    const rival = written.entries.get("root");
    if (rival !== undefined)
      context.report(rival.origin, "a socket cannot be called root beside [root]", "give it another name");
  }
  const server = readServer(entries.get("server") ?? none, { sockets, root: root !== undefined }, context);
  const binds = rootTable?.kind === "table" ? rootTable.entries.get("binds") : undefined;
  if (binds !== undefined && !server.enter)
    context.report(
      binds.origin,
      "[root.binds] does nothing unless the server enters the root",
      "add server.enter = true",
    );
  return {
    name: name.full,
    origin,
    sockets,
    tenant: readTenant(entries.get("tenant") ?? none, context),
    server,
    ...(root !== undefined && { root }),
  };
}

/** A key as docs/configuration.md must describe it. */
export interface ConfigurationKey {
  readonly section: string;
  readonly key: string;
  readonly type: string;
  readonly default: string | undefined;
  readonly unit: string | undefined;
  /** The sockets it is for; undefined: all. */
  readonly appliesTo: string | undefined;
}

/** Every key there is, by section, in the order of the documentation. */
export function configurationKeys(): ConfigurationKey[] {
  const sections = [
    ["sockets.NAME", socketKeys],
    ["root", rootKeys],
    ["tenant", tenantKeys],
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
