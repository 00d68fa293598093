// Waits, between two calls, for a berth that has a problem. The log and the service manager hear of it once.
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "launch.h"

namespace berthd {
namespace {

constexpr unsigned kLongestSeconds = 30;

// sd_notify(3). Without a service manager, or one that listens, there is nobody to tell.
void notify(const char* state) {
  const char* const path = getenv("NOTIFY_SOCKET");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path == nullptr || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path) return;
  memcpy(address.sun_path, path, strlen(path));
  if (path[0] == '@') address.sun_path[0] = '\0';
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + strlen(path));
  sendto(fd.get(), state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&address), length);
}

}  // namespace

void Patience::wait(const char* sentence) {
  if (strcmp(told_.string(), sentence) != 0) {
    told_.shrink(0);
    told_.append(sentence);
    warn("%s; waiting until it has none", sentence);
  }
  // A unit with Type=notify may take longer to start than TimeoutStartSec= says.
  char state[1024];
  snprintf(state, sizeof state, "EXTEND_TIMEOUT_USEC=%u\nSTATUS=waiting: %.900s", 3 * kLongestSeconds * 1000000, sentence);
  notify(state);
  timespec left = {static_cast<time_t>(seconds_), 0};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
  seconds_ = 2 * seconds_ < kLongestSeconds ? 2 * seconds_ : kLongestSeconds;
}

}  // namespace berthd
