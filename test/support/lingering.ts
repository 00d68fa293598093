/** A descriptor whose last close(2) waits: a TCP connection with SO_LINGER, full of what its peer does not read. */

import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { AF_INET, encodeSockaddr } from "../../src/net/address.ts";
import { POLLIN, POLLOUT, SOL_SOCKET } from "../../src/net/socket-constants.ts";
import { SOCK_STREAM } from "../../src/net/transport.ts";
import { boundSocket } from "./sockets.ts";

const SO_LINGER = 13;
/** Longer than any test may take. */
const SECONDS = 600;

export interface Lingering extends Disposable {
  /** The descriptor, the caller's to close. */
  readonly fd: number;
}

/** With the end of it whoever waits in a close(2) goes on: the peer has reset the connection. */
export function lingering(): Lingering {
  using listener = boundSocket("tcp://127.0.0.1:0", 1);
  const address = Buffer.alloc(16);
  check("getsockname", native.getsockname(listener.fd, address));
  const fd = check("socket", native.socket(AF_INET, SOCK_STREAM, 0));
  const port = address.readUInt16BE(2);
  native.connect(fd, encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port }));
  check("poll", native.pollFor(listener.fd, POLLIN, 5000));
  const peer = FdHandle.adopt(check("accept", native.accept(listener.fd)));
  check("poll", native.pollFor(fd, POLLOUT, 5000));
  check("setsockopt", native.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger(1, SECONDS)));
  const data = new Uint8Array(65_536);
  while (native.sendmsg(fd, data, 0, new Int32Array(0), 0) > 0);
  const reset = (): void => {
    native.setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, linger(1, 0));
    peer.close();
  };
  return { fd, [Symbol.dispose]: reset };
}

/** A `struct linger`: socket(7). */
function linger(on: number, seconds: number): Uint8Array {
  return new Uint8Array(Int32Array.of(on, seconds).buffer);
}
