// Tells the service manager of this process, if there is one (sd_notify(3)).
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/fd.h"

namespace berthd {

// Sends `state` to NOTIFY_SOCKET. Returns 0, also where there is no such socket, or errno. `flags`: of sendto(2).
inline int notifyManager(const char* state, int flags) {
  const char* const path = getenv("NOTIFY_SOCKET");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path == nullptr || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path) return 0;
  memcpy(address.sun_path, path, strlen(path));
  if (path[0] == '@') address.sun_path[0] = '\0';
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + strlen(path));
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  return sendto(fd.get(), state, strlen(state), MSG_NOSIGNAL | flags, to, length) < 0 ? errno : 0;
}

}  // namespace berthd
