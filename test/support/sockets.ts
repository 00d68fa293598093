/** Bare sockets and files for tests, as handles that close what they hold. */
import { fstatSync } from "node:fs";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { AF_UNIX, encodeSockaddr, familyNumber, parseListenAddress } from "../../src/net/address.ts";
import { SOCK_STREAM, typeNumber } from "../../src/net/transport.ts";

/** Two connected UNIX sockets, stream unless said. */
export function socketPair(type: number = SOCK_STREAM): [FdHandle, FdHandle] {
  const pair = new Int32Array(2);
  check("socketpair", native.socketpair(AF_UNIX, type, pair));
  return [FdHandle.adopt(pair[0] ?? -1), FdHandle.adopt(pair[1] ?? -1)];
}

/** A memfd: a file that can be told from every other by {@link fileOf}. */
export function memfd(name = "test"): FdHandle {
  return FdHandle.adopt(check("memfd_create", native.memfd(name)));
}

/** Which open file a descriptor is of: equal for duplicates. */
export function fileOf(fd: FdHandle | number): string {
  const { dev, ino } = fstatSync(typeof fd === "number" ? fd : fd.fd);
  return `${dev}:${ino}`;
}

/** A socket bound to an address as the configuration writes it; it listens when it can and `backlog` is given. */
export function boundSocket(text: string, backlog?: number): FdHandle {
  const listen = parseListenAddress(text);
  if (typeof listen === "string") throw new Error(listen);
  const handle = FdHandle.adopt(
    check("socket", native.socket(familyNumber(listen.address), typeNumber(listen.kind), 0)),
  );
  check("bind", native.bind(handle.fd, encodeSockaddr(listen.address)));
  if (backlog !== undefined) check("listen", native.listen(handle.fd, backlog));
  return handle;
}
