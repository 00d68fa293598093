// Descriptors that a service manager passed to the launcher (sd_listen_fds(3)): sockets of its .socket units, files of
// OpenFile=, its store. They reach the server after the berth's, with their names.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "launch.h"

namespace berthd {
namespace {

constexpr int kFirstFd = 3;  // SD_LISTEN_FDS_START
constexpr size_t kMaxPassed = 4096;
constexpr long kPidfsMagic = 0x50494446;

// Reads a number that is all of `text`. Returns 0 if it is none.
unsigned long long number(const char* text) {
  if (text == nullptr || *text < '0' || *text > '9') return 0;
  char* end = nullptr;
  const unsigned long long value = strtoull(text, &end, 10);
  return *end == '\0' ? value : 0;
}

// Whether `id` is that of this process. A kernel before 6.9 cannot tell (pidfd_open(2)): then the pid has to do.
bool isOwnPidfdId(const char* id) {
  const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  struct statfs filesystem = {};
  struct stat file = {};
  if (self.get() < 0 || fstatfs(self.get(), &filesystem) != 0 || filesystem.f_type != kPidfsMagic) return true;
  return fstat(self.get(), &file) == 0 && number(id) == file.st_ino;
}

size_t countNames(const char* names) {
  size_t count = 1;
  for (const char* at = names; *at != '\0'; at++) count += *at == ':';
  return count;
}

}  // namespace

void takeInherited(Inherited& inherited) {
  const char* const id = getenv("LISTEN_PIDFDID");
  if (number(getenv("LISTEN_PID")) != static_cast<unsigned long long>(getpid())) return;
  if (id != nullptr && !isOwnPidfdId(id)) return;
  const unsigned long long count = number(getenv("LISTEN_FDS"));
  if (count == 0) return;
  if (count > kMaxPassed) {
    fail(kUsage, "LISTEN_FDS is %s, above %zu; pass fewer descriptors to berth-launch", getenv("LISTEN_FDS"), kMaxPassed);
  }
  const char* names = getenv("LISTEN_FDNAMES");
  if (names != nullptr && countNames(names) != count) {
    fail(kUsage, "LISTEN_FDNAMES has %zu names, but LISTEN_FDS is %llu; name each descriptor once", countNames(names), count);
  }
  for (unsigned long long i = 0; i < count; i++) {
    const int fd = kFirstFd + static_cast<int>(i);
    if (fcntl(fd, F_GETFD) < 0) {
      fail(kUsage, "LISTEN_FDS is %llu, but fd %d is not open; start berth-launch with the passed descriptors open", count, fd);
    }
    const size_t length = names == nullptr ? 0 : static_cast<size_t>(strchrnul(names, ':') - names);
    inherited.names.append(":");
    if (names == nullptr) inherited.names.append("unknown");
    else inherited.names.append(names, length);
    if (names != nullptr && names[length] == ':') names += length + 1;
    inherited.fds.push(fd);
  }
  inherited.pidfdId = id;
}

}  // namespace berthd
