/** Checks `{fd:NAME}`, `{root}` and their kin in commands and environments. It never expands them: the plan does, at launch. */
import { placeholder, placesDescriptors, ROOT } from "../placeholder.ts";
import type { Report } from "./problem.ts";
import type { Delivery, Origin, SocketSpec } from "./spec.ts";
import { suggest } from "./suggest.ts";

/** What a berth has that a placeholder may name. */
export interface Holdings {
  readonly sockets: readonly SocketSpec[];
  /** Whether it has a root. */
  readonly root: boolean;
  /** Whether the server finds it as `/`. */
  readonly enter: boolean;
}

/** Reports each placeholder that the launch could not expand. Other braces are left alone: they are the server's. */
export function checkPlaceholders(
  text: string,
  origin: Origin,
  { sockets, root, enter }: Holdings,
  deliver: readonly Delivery[],
  report: Report,
): void {
  for (const [whole, what, name, index] of text.matchAll(placeholder)) {
    const socket = sockets.find((candidate) => candidate.name === name);
    const isRoot = what === "root" ? name === undefined : what === "fd" && name === ROOT && socket === undefined;
    if (!isRoot && (what === "root" || name === undefined)) {
      report(
        origin,
        `${whole} is not complete`,
        "write {root}, {fd:NAME}, {port:NAME} or {address:NAME}, with :INDEX for other than the first",
      );
    } else if (isRoot && enter) {
      report(origin, `${whole}: with server.enter the root is /, and there is no descriptor of it`, "write / instead");
    } else if ((what === "fd" || isRoot) && !placesDescriptors(deliver)) {
      const remedy = isRoot
        ? 'remove it, or add "listen-fds" to deliver'
        : 'write {port:NAME} or {address:NAME}, or add "listen-fds" to deliver';
      report(origin, `${whole}: with deliver = ["bind"] the server gets no descriptor numbers`, remedy);
    } else if (isRoot) {
      if (!root) report(origin, `${whole} speaks of a root, which this berth does not have`, "add a section [root]");
      else if (index !== undefined) report(origin, `${whole}: there is one root`, "write {fd:root}");
    } else if (socket === undefined) {
      const names = sockets.map((candidate) => candidate.name);
      const remedy = names.length === 0 ? `add a section [sockets.${name}]` : suggest(name ?? "", names);
      report(origin, `${whole} speaks of a socket "${name}", which this berth does not have`, remedy);
    } else {
      checkIndex(whole, what === "port", socket, index, origin, report);
    }
  }
}

function checkIndex(
  whole: string,
  isPort: boolean,
  socket: SocketSpec,
  index: string | undefined,
  origin: Origin,
  report: Report,
): void {
  const count = socket.listen.length;
  // Then its `listen` is what was reported.
  if (count === 0) return;
  const listen = /^\d{1,3}$/.test(index ?? "0") ? socket.listen[Number(index ?? "0")] : undefined;
  if (listen === undefined) {
    report(
      origin,
      `${whole}: socket "${socket.name}" has no descriptor ${index}`,
      `write a number from 0 to ${count - 1}`,
    );
  } else if (isPort && listen.address.family === "unix") {
    report(
      origin,
      `${whole}: socket "${socket.name}" is a UNIX socket and has no port`,
      `write {address:${socket.name}} for its path`,
    );
  }
}
