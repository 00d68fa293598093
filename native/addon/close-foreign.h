// Closes descriptors that another process opened. close(2) can wait: on a FUSE file for its program, which may never
// answer (not even SIGKILL ends that wait), and on a socket with SO_LINGER for its peer.
#pragma once

namespace berthd {

// Closes the descriptor, on a thread of its own if close(2) may wait. Returns 0, -errno of close(2), or -EAGAIN: too
// many threads wait already, and the descriptor stays open.
int closeForeign(int fd);

}  // namespace berthd
