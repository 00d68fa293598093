// Descriptors that berth-launch sends over a UNIX socket (SCM_RIGHTS, unix(7)). It receives none, and closes none.
#include "launch.h"

namespace berthd {

void sendFds(int channel, const int* fds, size_t count, const char* what) {
  char byte = 0;  // a stream carries no descriptors without a byte
  iovec data = {&byte, 1};
  msghdr message = messageOf(data);
  ControlBuffer<> room;
  attachFds(message, room, fds, count);
  const ssize_t sent = retryOnEintr([&] { return sendmsg(channel, &message, MSG_NOSIGNAL); });
  if (sent != 1) fail(kSystem, "cannot send %s over fd %d: %m; pass a connected UNIX socket", what, channel);
}

}  // namespace berthd
