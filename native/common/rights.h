// Descriptors in a message of a UNIX socket: SCM_RIGHTS (unix(7), cmsg(3)).
#pragma once
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "eintr.h"
#include "fd.h"

namespace berthd {

constexpr size_t kMaxFds = 253;  // SCM_MAX_FD: the most descriptors one message carries

// Room for the descriptors of one message, and `Extra` bytes for other control messages. Left uninitialised for speed.
template <size_t Extra = 0>
struct ControlBuffer {
  alignas(cmsghdr) char bytes[CMSG_SPACE(kMaxFds * sizeof(int)) + Extra];
};

// A message of one part.
inline msghdr messageOf(iovec& part) {
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return message;
}

// Attaches at most kMaxFds descriptors. `room` must live until the message is sent.
inline void attachFds(msghdr& message, ControlBuffer<>& room, const int* fds, size_t count) {
  const size_t size = count * sizeof(int);
  message.msg_control = room.bytes;
  message.msg_controllen = CMSG_SPACE(size);
  memset(room.bytes, 0, message.msg_controllen);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(header), fds, size);
}

// recvmsg(2) that never waits. The caller then calls takeFds, whatever else it finds in the message.
template <size_t Extra>
ssize_t receiveMessage(int socket, msghdr& message, ControlBuffer<Extra>& room, int flags = 0) {
  message.msg_control = room.bytes;
  message.msg_controllen = sizeof room.bytes;
  return retryOnEintr([&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags); });
}

// Calls `each` for each control message of SOL_SOCKET.
template <typename Each>
void forEachControl(msghdr& message, Each each) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET) each(*header);
  }
}

// Gives each descriptor of a received message to `take`, as a UniqueFd: it is owned before the next one is looked at.
// Returns whether all came. If not (MSG_CTRUNC), the caller closes what did: which ones are missing is unknown.
template <typename Take>
bool takeFds(msghdr& message, Take take) {
  forEachControl(message, [&](cmsghdr& header) {
    if (header.cmsg_type != SCM_RIGHTS) return;
    const size_t count = (header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(&header) + i * sizeof(int), sizeof fd);
      take(UniqueFd(fd));
    }
  });
  return (message.msg_flags & MSG_CTRUNC) == 0;
}

}  // namespace berthd
