/**
 * What `acquire` does for a developer who has no broker: reads the berth's configuration and opens its sockets in this
 * process. Nothing is held: they close with the process.
 */
import { unlinkSync } from "node:fs";
import { constants } from "node:os";
import { systemAccounts } from "../accounts.ts";
import { defaultConfigDirectories } from "../config/directories.ts";
import { listenerReuse, type SocketOptions, settingsFor } from "../config/keys/socket-options.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/toml/problem.ts";
import { BerthError, check } from "../errors.ts";
import { closeAll, FdHandle } from "../fd.ts";
import { native } from "../native.ts";
import { encodeSockaddr, familyNumber, formatListenAddress, type ListenAddress, pathOf } from "../net/address.ts";
import { boundAddress } from "../net/socket-queries.ts";
import { typeNumber } from "../net/transport.ts";
import { connectUnix } from "../varlink/connect.ts";
import type { TenantDescriptor } from "./tenant-descriptor.ts";

const { EADDRINUSE } = constants.errno;

/**
 * The sockets of a berth, bound here. Throws CONFIG_INVALID if the folders have no such berth or a problem in it, and
 * SYSTEM_ERROR if a socket cannot be opened; `cause` is why there is no broker.
 */
export async function bindSockets(
  name: string,
  folders: readonly string[] = defaultConfigDirectories(),
  cause: unknown = undefined,
): Promise<TenantDescriptor[]> {
  const { specs, problems } = loadConfig({ directories: folders, accounts: systemAccounts(native) });
  const spec = specs.find((berth) => berth.name === name);
  if (spec === undefined) {
    const why = problems.length === 0 ? "" : `:\n${problems.map(formatProblem).join("\n")}`;
    const message = `there is no broker, and no valid berth ${JSON.stringify(name)} in ${folders.join(", ")}${why}`;
    throw new BerthError("CONFIG_INVALID", message, { cause });
  }
  const opened: TenantDescriptor[] = [];
  try {
    for (const { name: socket, listen: addresses, options } of spec.sockets)
      for (const listen of addresses)
        opened.push({ name: socket, kind: listen.kind, ...(await open(listen, options)) });
    return opened;
  } catch (error) {
    closeAll(opened.map(({ handle }) => handle));
    throw error;
  }
}

async function open(
  listen: ListenAddress,
  options: SocketOptions,
): Promise<Pick<TenantDescriptor, "handle" | "address">> {
  const text = formatListenAddress(listen);
  const isListening = listen.kind !== "datagram";
  const fd = check("socket", native.socket(familyNumber(listen.address), typeNumber(listen.kind), 0), text);
  const handle = FdHandle.adopt(fd);
  try {
    const reuse = [{ kernel: listenerReuse, value: 1 }];
    const settings = [
      ...(listen.kind === "stream" && listen.address.family !== "unix" ? reuse : []),
      ...(["unbound", "bind", "any"] as const).flatMap((when) => settingsFor(when, listen, options)),
    ];
    for (const { kernel, value } of settings) {
      const raw = typeof value === "string" ? Buffer.from(`${value}\0`) : value;
      check(`setsockopt ${kernel.name}`, native.setsockopt(fd, kernel.level, kernel.option, raw), text);
    }
    const bound = bind(fd, listen);
    const isLeft = bound === -EADDRINUSE && isListening && (await removeLeftPath(listen));
    check("bind", isLeft ? bind(fd, listen) : bound, text);
    if (isListening) check("listen", native.listen(fd, options.backlog), text);
    const address = boundAddress(fd, native) ?? listen.address;
    return { handle, address: formatListenAddress({ ...listen, address }) };
  } catch (error) {
    handle.close();
    throw error;
  }
}

function bind(fd: number, { address }: ListenAddress): number {
  return native.bind(fd, encodeSockaddr(address));
}

/** Removes the path of a socket that nobody listens on: an earlier run has left it. */
async function removeLeftPath({ address }: ListenAddress): Promise<boolean> {
  const path = pathOf(address);
  if (path === undefined) return false;
  try {
    (await connectUnix(path)).close();
    return false;
  } catch (error) {
    if (!(error instanceof BerthError) || error.code !== "BROKER_UNREACHABLE") throw error;
    unlinkSync(path);
    return true;
  }
}
