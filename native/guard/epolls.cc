// What an epoll has registered of a server's socket, moved to the socket that takes its place. The kernel finds a
// registration by the open file and by the number under which it was registered. So the file gets that number in this
// process for as long as epoll_ctl(2) takes, and the server's own EPOLL_CTL_MOD and EPOLL_CTL_DEL go on working.
// All of it waits for the epoll's mutex, which its owner can hold for ever: only a worker may do it.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "common/eintr.h"
#include "guard.h"

namespace berthd {
namespace {

struct Registration {
  int number = -1;
  epoll_event event = {};
  unsigned long long inode = 0;
  unsigned long long device = 0;
};

// epoll_ctl(2) on `file` under a number that it need not have here. Whatever has that number here has it again
// afterwards. Returns 0 or errno.
int controlAs(int epoll, int operation, int file, int number, epoll_event* event) {
  const int displaced = ::fcntl(number, F_DUPFD_CLOEXEC, 0);
  if (displaced < 0 && errno != EBADF) return errno;
  const int here = epoll == number ? displaced : epoll;
  int error = 0;
  if (file != number && ::dup3(file, number, O_CLOEXEC) < 0) error = errno;
  if (error == 0 && ::epoll_ctl(here, operation, number, event) != 0) error = errno;
  if (displaced < 0) {
    ::close(number);
  } else {
    ::dup3(displaced, number, O_CLOEXEC);
    ::close(displaced);
  }
  return error;
}

// A line of fdinfo: "tfd: 5 events: 19 data: 5  pos:0 ino:d1c sdev:8" (proc_pid_fdinfo(5)).
bool readRegistration(const char* line, Registration* into) {
  const char* const events = strstr(line, "events:");
  const char* const data = strstr(line, "data:");
  const char* const inode = strstr(line, "ino:");
  const char* const device = strstr(line, "sdev:");
  if (strncmp(line, "tfd:", 4) != 0 || !events || !data || !inode || !device) return false;
  into->number = static_cast<int>(strtol(line + 4, nullptr, 10));
  into->event.events = static_cast<uint32_t>(strtoul(events + 7, nullptr, 16));
  into->event.data.u64 = strtoull(data + 5, nullptr, 16);
  into->inode = strtoull(inode + 4, nullptr, 16);
  into->device = strtoull(device + 5, nullptr, 16);
  return true;
}

// Calls `each` for each registration that the epoll had when it was first read from.
template <typename Each>
void forEachRegistration(int info, Each each) {
  static char buffer[16 * 1024];
  size_t kept = 0;
  off_t at = 0;
  for (;;) {
    const ssize_t size = retryOnEintr([&] { return ::pread(info, buffer + kept, sizeof buffer - 1 - kept, at); });
    if (size <= 0) return;
    at += size;
    kept += static_cast<size_t>(size);
    buffer[kept] = '\0';
    char* line = buffer;
    while (char* end = strchr(line, '\n')) {
      *end = '\0';
      Registration found;
      if (readRegistration(line, &found)) each(found);
      line = end + 1;
    }
    kept = static_cast<size_t>(buffer + kept - line);
    if (kept == sizeof buffer - 1) return;  // no line is that long
    memmove(buffer, line, kept);
  }
}

}  // namespace

int32_t forgetRegistrations(const UniqueFd* fds, size_t count, const int32_t* numbers, size_t numberCount) {
  int32_t deleted = 0;
  for (size_t i = 1; i + 1 < count; i += 2) {
    for (size_t j = 0; j < numberCount; j++) {
      if (controlAs(fds[i + 1].get(), EPOLL_CTL_DEL, fds[0].get(), numbers[j], nullptr) == 0) deleted++;
    }
  }
  return deleted;
}

Carried carryRegistrations(const UniqueFd* fds, size_t count) {
  Carried carried;
  struct statx old;
  if (count < 2 || ::statx(fds[1].get(), "", AT_EMPTY_PATH, STATX_INO, &old) != 0) return carried;
  // As the kernel itself numbers devices, which is how fdinfo has them.
  const unsigned long long device = static_cast<unsigned long long>(old.stx_dev_major) << 20 | old.stx_dev_minor;
  for (size_t i = 2; i + 1 < count; i += 2) {
    const int epoll = fds[i + 1].get();
    forEachRegistration(fds[i].get(), [&](Registration& found) {
      if (found.inode != old.stx_ino || found.device != device) return;
      // Never both: the old socket, which nobody has any more, would go on being ready.
      controlAs(epoll, EPOLL_CTL_DEL, fds[1].get(), found.number, nullptr);
      const int error = controlAs(epoll, EPOLL_CTL_ADD, fds[0].get(), found.number, &found.event);
      if (error == 0) carried.count++;
      // EEXIST: another thread of the server was first.
      if (error == 0 || error == EEXIST) return;
      if (carried.failed++ == 0) carried.error = error;
    });
  }
  return carried;
}

}  // namespace berthd
