/**
 * Wraps a descriptor in a message that is never received, so that it counts as another open file. systemd stores one
 * descriptor per open file, whatever its name; but a tenant may stash one file twice, or a socket of its own berth.
 */
import { check } from "../../errors.ts";
import { adoptReceived, closeAll, type FdHandle } from "../../fd.ts";
import { type Native, RECEIVED_LENGTH } from "../../native.ts";
import { socketPair } from "../../net/socket-queries.ts";

const BYTE = new Uint8Array(1);

/** Wraps a duplicate of the descriptor. Throws {@link SysError}. */
export function wrapFd(fd: number, sys: Native): FdHandle {
  const [wrapper, theirs] = socketPair("stream", sys);
  using sender = theirs;
  try {
    check("sendmsg", sys.sendmsg(sender.fd, BYTE, 0, Int32Array.of(fd), 1));
    return wrapper;
  } catch (error) {
    wrapper.close();
    throw error;
  }
}

/** A duplicate of the wrapped descriptor; undefined when there is none. */
export function unwrapFd(wrapper: FdHandle, sys: Native): FdHandle | undefined {
  const received = new Int32Array(RECEIVED_LENGTH);
  if (sys.peekmsg(wrapper.fd, new Uint8Array(1), 0, received) <= 0) return undefined;
  const [first, ...others] = adoptReceived(received, sys);
  closeAll(others);
  return first;
}
