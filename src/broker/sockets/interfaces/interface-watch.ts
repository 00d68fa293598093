/** Says when an address or interface of this host has changed: rtnetlink(7). It does not say which. */
import { check, SysError } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import { type Native, type Poll, READABLE, TAKE } from "../../../native.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
/** RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h. */
const GROUPS = 0x1 | 0x10 | 0x100;
/** Messages read in a row. */
const BATCH = 32;

export class InterfaceWatch implements Disposable {
  readonly #handle: FdHandle;
  readonly #poll: Poll;
  readonly #sys: Native;
  readonly #onChange: () => void;
  readonly #buffer = new Uint8Array(4096);

  private constructor(handle: FdHandle, sys: Native, onChange: () => void) {
    this.#handle = handle;
    this.#sys = sys;
    this.#onChange = onChange;
    this.#poll = new sys.Poll(handle.fd, () => this.#read());
    check("poll", this.#poll.start(READABLE));
  }

  /** Undefined where the system gives no such socket. */
  static open(sys: Native, onChange: () => void): InterfaceWatch | undefined {
    const fd = sys.socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (fd < 0) return undefined;
    const handle = FdHandle.adopt(fd, sys);
    try {
      check("bind", sys.bind(fd, netlinkAddress()));
      return new InterfaceWatch(handle, sys, onChange);
    } catch (error) {
      handle.close();
      if (!(error instanceof SysError)) throw error;
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#poll.close();
    this.#handle.close();
  }

  /** The messages are not looked at. After too many of them recv(2) says ENOBUFS once: that is a change as well. */
  #read(): void {
    for (let n = 0; n < BATCH; n++) if (this.#sys.recvbytes(this.#handle.fd, this.#buffer, TAKE) < 0) break;
    this.#onChange();
  }
}

/** struct sockaddr_nl: the family, a pad, the port (the kernel chooses it), the groups. */
function netlinkAddress(): Uint8Array {
  const bytes = new Uint8Array(12);
  new Uint16Array(bytes.buffer, 0, 1)[0] = AF_NETLINK;
  new Uint32Array(bytes.buffer, 8, 1)[0] = GROUPS;
  return bytes;
}
