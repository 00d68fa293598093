// Closes descriptors for the last time. close(2) of a socket that is in an epoll waits for the epoll's mutex, which a
// tenant can hold for ever (eventpoll_release_file, fs/eventpoll.c), and not even SIGKILL ends that wait. So processes
// that share the table of descriptors close one after the other. What one of them waits for is in no table any more.
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "guard.h"

namespace berthd {
namespace {

// If nothing was closed for so long, others close the rest.
constexpr long kStallNanoseconds = 10 * 1000 * 1000;
// So much later it takes long.
constexpr int kSlowStalls = 15;
constexpr size_t kMostClosers = 512;
// A closing socket waits at most so long for its peer (SO_LINGER, socket(7)): a signal ends that wait.
constexpr suseconds_t kLingerMicroseconds = 10 * 1000;

struct Progress {
  std::atomic<size_t> begun;
  std::atomic<size_t> done;
};

[[noreturn]] void closeSome(const int* fds, size_t count, Progress* progress) {
  const itimerval timer = {{0, kLingerMicroseconds}, {0, kLingerMicroseconds}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  for (size_t i; (i = progress->begun++) < count;) {
    close(fds[i]);
    progress->done++;
  }
  _exit(0);
}

void reap() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) continue;
}

// Until a child ends, or a while.
void waitAWhile() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const timespec stall = {0, kStallNanoseconds};
  sigtimedwait(&child, nullptr, &stall);
  reap();
}

}  // namespace

bool closeApart(const int* fds, size_t count, bool (*onSlow)(void*), void* argument) {
  void* const shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return false;
  auto* const progress = new (shared) Progress{};
  size_t closers = 0, more = 1, seen = 0;
  int stalls = 0;
  for (bool isSlow = false; progress->done < count;) {
    if (stalls > 0 || closers == 0) {
      for (size_t i = 0; i < more && progress->begun < count && closers < kMostClosers; i++, closers++) {
        const long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) closeSome(fds, count, progress);
        if (pid < 0) break;
      }
      more *= 2;
    }
    // No process can be had: nothing else is left to do here.
    if (closers == 0) closeSome(fds, count, progress);
    waitAWhile();
    stalls = progress->done == seen ? stalls + 1 : 0;
    seen = progress->done;
    if (stalls < kSlowStalls || isSlow) continue;
    isSlow = true;
    if (!onSlow(argument)) return false;
  }
  return true;
}

}  // namespace berthd
