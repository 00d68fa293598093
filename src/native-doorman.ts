/** The addon's calls for a doorman (native/addon/doorman.cc). Types only. */

export interface DoormanCalls {
  /**
   * recvfrom(2) of a datagram, MSG_DONTWAIT. `sockaddr` gets the sender's address, and should be zero before. With
   * `peek` not 0 it stays in the queue. Returns its true length, which may exceed that of `data`, or -errno.
   */
  recvfrom(fd: number, data: Uint8Array, sockaddr: Uint8Array, peek: number): number;
  /** sendto(2), MSG_DONTWAIT. Returns the bytes sent, or -errno. */
  sendto(fd: number, data: Uint8Array, sockaddr: Uint8Array): number;
  /**
   * accept4(2) with SOCK_CLOEXEC | SOCK_NONBLOCK for the result, which waits at most so many milliseconds whatever the
   * flags of the listening socket, and changes none. Then -EAGAIN. It uses SIGALRM.
   */
  acceptWithin(fd: number, milliseconds: number): number;
  /**
   * Takes from this process, all its threads, by seccomp(2) every call that opens, connects,
   * makes a process or takes a path. It is killed with its parent. Returns 0 or -errno.
   */
  confineDoorman(): number;
  /** _exit(2): no handler of Node's runs. */
  exitNow(status: number): void;
}
