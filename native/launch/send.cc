// Descriptors that berth-launch sends over a UNIX socket (SCM_RIGHTS, unix(7)). It receives none, and closes none.
#include <errno.h>

#include "launch.h"

void attach(msghdr& message, Attached& room, const int* fds, size_t count) {
  const size_t size = count * sizeof(int);
  message.msg_control = room.control;
  message.msg_controllen = CMSG_SPACE(size);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(header), fds, size);
}

void sendFds(int channel, const int* fds, size_t count, const char* what) {
  char byte = 0;  // a stream carries no descriptors without a byte
  iovec data = {&byte, 1};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  Attached room;
  attach(message, room, fds, count);
  ssize_t sent;
  do sent = sendmsg(channel, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent != 1) fail(kSystem, "cannot send %s over fd %d: %m; pass a connected UNIX socket", what, channel);
}
