// Closing what somebody else has opened. close(2) of a file asks its file system to write it out (FUSE's program need
// not answer, and then not even SIGKILL ends the wait), and of a socket with SO_LINGER waits for its peer.
#pragma once

namespace berthd {

// Closes the descriptor, on a thread of its own where that may wait. Returns 0, what close(2) says, or -EAGAIN: as many
// threads wait already as may, and the descriptor is left open.
int Discard(int fd);

}  // namespace berthd
