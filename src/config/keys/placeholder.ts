/**
 * Checks `{fd:NAME}`, `{root}` and other placeholders of commands and environments. A launch expands them, not this.
 */
import { placeholder, placesDescriptors, ROOT } from "../../placeholder.ts";
import type { Origin, Report } from "../toml/problem.ts";
import { suggest } from "../toml/suggest.ts";
import type { Delivery, SocketSpec } from "./spec.ts";

/** What a berth has that a placeholder can name. */
export interface PlaceholderTargets {
  readonly sockets: readonly SocketSpec[];
  /** Whether it has a root. */
  readonly root: boolean;
  /** Whether the root is the server's `/` (server.enter). */
  readonly enter: boolean;
}

/** Reports each placeholder that a launch could not expand. Any other text in braces belongs to the server. */
export function checkPlaceholders(
  text: string,
  origin: Origin,
  { sockets, root, enter }: PlaceholderTargets,
  deliver: readonly Delivery[],
  report: Report,
): void {
  for (const [whole, what, name, index] of text.matchAll(placeholder)) {
    if (what === undefined) continue;
    const socket = sockets.find((candidate) => candidate.name === name);
    const isRoot = what === "root" ? name === undefined : what === "fd" && name === ROOT && socket === undefined;
    if (!isRoot && (what === "root" || name === undefined)) {
      report(
        origin,
        `${whole} is not complete`,
        "write {root}, {fd:NAME}, {port:NAME} or {address:NAME}; for the second address of a socket {fd:NAME:1}",
      );
    } else if (isRoot && enter) {
      report(origin, `${whole}: with server.enter the root is / and has no descriptor`, "write / instead");
    } else if ((what === "fd" || isRoot) && !placesDescriptors(deliver)) {
      const remedy = isRoot
        ? 'remove it, or add "listen-fds" to deliver'
        : 'write {port:NAME} or {address:NAME}, or add "listen-fds" to deliver';
      report(origin, `${whole}: with deliver = ["bind"] the server gets no descriptor numbers`, remedy);
    } else if (isRoot) {
      if (!root) report(origin, `${whole}: this berth has no root`, 'add [root] with image = "NAME"');
      else if (index !== undefined) report(origin, `${whole}: the root has no index`, "write {fd:root}");
    } else if (socket === undefined) {
      const names = sockets.map((candidate) => candidate.name);
      const remedy =
        names.length === 0 ? `add [sockets.${name}] with listen = ["udp://*:27960"]` : suggest(name ?? "", names);
      report(origin, `${whole}: this berth has no socket "${name}"`, remedy);
    } else {
      checkIndex(whole, what === "port", socket, index ?? "0", origin, report);
    }
  }
}

function checkIndex(
  whole: string,
  isPort: boolean,
  socket: SocketSpec,
  index: string,
  origin: Origin,
  report: Report,
): void {
  const count = socket.listen.length;
  // A problem of its `listen` has already been reported.
  if (count === 0) return;
  const listen = /^\d{1,3}$/.test(index) ? socket.listen[Number(index)] : undefined;
  if (listen === undefined) {
    const indices = count === 1 ? "one address: index 0" : `${count} addresses: index 0 to ${count - 1}`;
    report(origin, `${whole}: socket ${socket.name} has ${indices}`, `write ${whole.replace(/:[^:]*$/, ":0}")}`);
  } else if (isPort && listen.address.family === "unix") {
    report(
      origin,
      `${whole}: socket ${socket.name} is a UNIX socket and has no port`,
      `write {address:${socket.name}} for its path`,
    );
  }
}
