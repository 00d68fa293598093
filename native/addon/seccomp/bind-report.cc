// Looking at a server: through its pidfd, its memory and its folder in /proc.
#include "bind-report.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/bind-call.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace berthd {
namespace {

// A thread may have a table of descriptors of its own, or outlive its process's first one. Before Linux 6.9 there are
// only pidfds of the first.
int openPidfd(pid_t thread, pid_t process) {
  int pidfd = openThread(thread);
  return pidfd < 0 && errno == EINVAL ? static_cast<int>(::syscall(SYS_pidfd_open, process, 0)) : pidfd;
}

// The number after `key` in a file of /proc, in the given base; -1 where there is none.
long readNumber(const char* path, const char* key, int base) {
  UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return -1;
  char text[4096];
  ssize_t size = ::read(file.get(), text, sizeof text - 1);
  if (size <= 0) return -1;
  text[size] = '\0';
  const char* found = std::strstr(text, key);
  return found == nullptr ? -1 : std::strtol(found + std::strlen(key), nullptr, base);
}

// The flags of a descriptor of the server as open(2) has them; -1 where there is none.
long readFlags(pid_t thread, int number) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", thread, number);
  return readNumber(path, "flags:", 8);
}

// The link in /proc says "net:[4026531840]". To read it takes no lock that a server could hold.
uint64_t networkOf(pid_t thread) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/ns/net", thread);
  char target[64];
  const ssize_t size = ::readlink(path, target, sizeof target - 1);
  target[size < 0 ? 0 : size] = '\0';
  constexpr char kBefore[] = "net:[";
  constexpr size_t kLength = sizeof kBefore - 1;
  return std::strncmp(target, kBefore, kLength) == 0 ? std::strtoull(target + kLength, nullptr, 10) : 0;
}

// Whether that descriptor of the server is a socket. What is none is not fetched: to close it again may wait for ever.
bool isSocket(pid_t thread, int number) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd/%d", thread, number);
  char target[8];
  constexpr char kSocket[] = {'s', 'o', 'c', 'k', 'e', 't', ':', '['};
  // Where nothing can be read, to fetch it says why.
  const ssize_t size = ::readlink(path, target, sizeof target);
  return size < 0 || (size == sizeof kSocket && std::memcmp(target, kSocket, sizeof kSocket) == 0);
}

// Mostly the first thread binds, and to ask whether it is that one is a short call.
pid_t processOf(pid_t thread) {
  if (::syscall(SYS_tgkill, thread, thread, 0) == 0) return thread;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/status", thread);
  return static_cast<pid_t>(readNumber(path, "\nTgid:", 10));
}

// Returns what bind(2) itself would find wrong with its arguments, in the order in which it would.
int find(const BindCall& call, BindReport* report, MemoryReader& memory, const ForeseenBinds& binds,
         const StateQuestions& questions) {
  report->process = processOf(report->thread);
  report->pidfd.reset(openPidfd(report->thread, report->process));
  if (!report->pidfd.valid()) return errno;
  if (!isSocket(report->thread, call.fd)) {
    const long flags = readFlags(report->thread, call.fd);
    return flags >= 0 && (flags & O_PATH) != 0 ? EBADF : ENOTSOCK;
  }
  const int number = static_cast<int>(::syscall(SYS_pidfd_getfd, report->pidfd.get(), call.fd, 0));
  if (number < 0) return errno;
  int domain;
  socklen_t size = sizeof domain;
  if (::getsockopt(number, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) {
    report->stray = number;  // the server has put it there just now
    return ENOTSOCK;
  }
  report->socket.reset(number);
  if (call.length < 0 || static_cast<size_t>(call.length) > kAddressMax) return EINVAL;
  const auto length = static_cast<size_t>(call.length);
  std::shared_ptr<BindLook> look;
  MemoryReader::Next next = {nullptr, nullptr, nullptr};
  // A server that has held up one look holds up no other.
  if ((!binds.empty() || !questions.empty()) && memory.isIdle()) {
    look = std::make_shared<BindLook>(binds, questions, report->thread, call.fd, report->socket.get(), length);
    next = BindLook::next(look);
  }
  const int error = memory.read(report->thread, call.address, report->address, length, next);
  if (error != 0) return error;
  if (look != nullptr) {
    report->foreseen = look->found();
    report->question = look->question(&report->state);
  }
  report->look = std::move(look);
  report->network = networkOf(report->thread);
  report->cloexec = isCloexec(report->thread, call.fd);
  return 0;
}

}  // namespace

int openThread(pid_t thread) { return static_cast<int>(::syscall(SYS_pidfd_open, thread, PIDFD_THREAD)); }

BindReport lookAtBind(const seccomp_notif& notification, MemoryReader& memory, const ForeseenBinds& binds,
                      const StateQuestions& questions) {
  BindReport report;
  report.id = notification.id;
  report.thread = static_cast<pid_t>(notification.pid);
  BindCall call;
  report.error = readBindCall(notification, memory, &call);
  report.number = call.fd;
  report.length = call.length;
  if (report.error == 0) report.error = find(call, &report, memory, binds, questions);
  return report;
}

bool isCloexec(pid_t thread, int number) {
  const long flags = readFlags(thread, number);
  return flags >= 0 && (flags & O_CLOEXEC) != 0;
}

}  // namespace berthd
