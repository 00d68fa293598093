// Waits, between two calls, for a berth that has a problem. The log and the service manager hear of it once.
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "common/notify.h"
#include "launch.h"

namespace berthd {
namespace {

constexpr unsigned kLongestSeconds = 30;

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
  notifyManager(state, MSG_DONTWAIT);
  timespec left = {static_cast<time_t>(seconds_), 0};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
  seconds_ = 2 * seconds_ < kLongestSeconds ? 2 * seconds_ : kLongestSeconds;
}

}  // namespace berthd
