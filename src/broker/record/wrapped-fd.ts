/**
 * A descriptor in a message that nobody has received: another open file than the descriptor's own, so that the service
 * manager stores it although it stores that one already. systemd keeps one descriptor of an open file, whatever it is
 * called, and a tenant may well leave one twice, or leave a socket of its own berth.
 */
import { check } from "../../errors.ts";
import { adoptReceived, closeAll, type FdHandle } from "../../fd.ts";
import { type Native, RECEIVED_LENGTH } from "../../native.ts";
import { socketPair } from "../../socket-queries.ts";

const BYTE = new Uint8Array(1);

/** Puts a duplicate of the descriptor into a carrier. Throws {@link SysError}. */
export function wrapFd(fd: number, sys: Native): FdHandle {
  const [carrier, theirs] = socketPair("stream", sys);
  using sender = theirs;
  try {
    check("sendmsg", sys.sendmsg(sender.fd, BYTE, 0, Int32Array.of(fd), 1));
    return carrier;
  } catch (error) {
    carrier.close();
    throw error;
  }
}

/** A duplicate of the descriptor in it, which stays there; undefined when there is none. */
export function unwrapFd(carrier: FdHandle, sys: Native): FdHandle | undefined {
  const received = new Int32Array(RECEIVED_LENGTH);
  if (sys.peekmsg(carrier.fd, new Uint8Array(1), 0, received) <= 0) return undefined;
  const [first, ...others] = adoptReceived(received, sys);
  closeAll(others);
  return first;
}
