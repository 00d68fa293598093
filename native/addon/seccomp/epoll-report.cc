// One pass over the server's table of descriptors, and the taking of its epolls.
#include "epoll-report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace berthd {
namespace {

constexpr std::string_view kEpoll = "anon_inode:[eventpoll]";

// More would make the broker busy with one bind. The server has the others as well, but they hear nothing.
constexpr size_t kMostEpolls = 256;

std::string_view linkOf(int folder, const char* name, char (&room)[64]) {
  const ssize_t size = ::readlinkat(folder, name, room, sizeof room);
  return std::string_view(room, size < 0 ? 0 : static_cast<size_t>(size));
}

// Not by opendir(3), which allocates 32 KiB: each bind waits for this.
template <typename Each>
void forEachName(const char* folder, Each each) {
  const UniqueFd directory(::open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  alignas(dirent64) char buffer[2048];
  long size;
  while ((size = ::syscall(SYS_getdents64, directory.get(), buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      if (entry->d_name[0] != '.') each(directory.get(), entry->d_name);
      at += entry->d_reclen;
    }
  }
}

// What a link in /proc/PID/fd to this socket says.
std::string_view nameOf(int socket, char (&room)[64]) {
  struct stat status;
  if (::fstat(socket, &status) != 0) return "none";
  std::snprintf(room, sizeof room, "socket:[%llu]", static_cast<unsigned long long>(status.st_ino));
  return room;
}

// Returns an epoll of the server, or -1.
int takeEpoll(const BindReport& report, int number, std::vector<int>* strays) {
  const int taken = static_cast<int>(::syscall(SYS_pidfd_getfd, report.pidfd.get(), number, 0));
  if (taken < 0) return -1;
  char path[64], room[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", taken);
  if (linkOf(AT_FDCWD, path, room) == kEpoll) return taken;
  strays->push_back(taken);  // the server has put it there just now
  return -1;
}

}  // namespace

bool hasSocket(const BindReport& report) {
  if (!report.socket.valid()) return false;
  char path[64], wanted[64], room[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd/%d", report.thread, report.number);
  return linkOf(AT_FDCWD, path, room) == nameOf(report.socket.get(), wanted);
}

Numbers numbersOf(const BindReport& report, int held) {
  Numbers numbers;
  char folder[64], room[64], wantedRoom[64], heldRoom[64];
  std::snprintf(folder, sizeof folder, "/proc/%d/fd", report.thread);
  const std::string_view wanted = nameOf(report.socket.get(), wantedRoom);
  const std::string_view heldName = nameOf(held, heldRoom);
  forEachName(folder, [&](int directory, const char* name) {
    const std::string_view target = linkOf(directory, name, room);
    const int number = std::atoi(name);
    if (target == wanted && number != report.number) numbers.own.push_back(number);
    if (target == heldName) numbers.hasHeld = true;
    if (target == kEpoll && numbers.epolls.size() < kMostEpolls) numbers.epolls.push_back(number);
  });
  numbers.own.push_back(report.number);
  return numbers;
}

EpollReport takeEpolls(const BindReport& report, const Numbers& numbers, size_t first) {
  EpollReport epolls;
  epolls.numbers = numbers.own;
  for (size_t at = first; at < numbers.epolls.size() && at < first + kEpollsAtOnce; at++) {
    const int number = numbers.epolls[at];
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", report.thread, number);
    UniqueFd info(::open(path, O_RDONLY | O_CLOEXEC));
    if (!info.valid()) continue;
    UniqueFd epoll(takeEpoll(report, number, &epolls.strays));
    if (!epoll.valid()) continue;
    epolls.fds.push_back(std::move(info));
    epolls.fds.push_back(std::move(epoll));
  }
  return epolls;
}

}  // namespace berthd
