// The process that reads memory for a MemoryReader, and what both use. It shares all our memory and has none of our
// descriptors. A thread that waits in such a read would keep this process from ending, with all that it has open.
#pragma once
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "fd.h"
#include "rights.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

namespace berthd {

// Its memory, the stack included. It lives until the process has ended.
struct alignas(16) ReaderJob {
  static constexpr size_t kMost = 128;

  enum Phase : int32_t { kReady = 0, kBusy = 1 };

  // What it does with what it has read, or with the descriptor that it was given. That may wait as well, and must
  // allocate nothing.
  struct Next {
    void (*work)(void* argument, const uint8_t* data, int given);
    void (*release)(void* argument);  // once nobody works with it any more
    void* argument;
  };

  char stack[16 * 1024];
  uint8_t data[kMost];
  int32_t phase;  // a futex
  int pair[2];    // in the process: a pair of sockets, on which it is given descriptors
  pid_t parent;
  pid_t process;
  uint64_t address;
  size_t size;  // 0: nothing is to be read, but a descriptor to be taken
  bool isRead;
  pid_t reader;
  uint64_t owner;
  Next next;
  ReaderJob* after;

  void wait(int32_t value, const timespec* limit) const {
    syscall(SYS_futex, &phase, FUTEX_WAIT_PRIVATE, value, limit);
  }

  void wake() { syscall(SYS_futex, &phase, FUTEX_WAKE_PRIVATE, 1, nullptr); }

  // All that the process does. It shares the starting thread's errno, which that one does not look at while this works.
  static int serve(void* argument) {
    auto* job = static_cast<ReaderJob*>(argument);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != job->parent) return 0;
    prctl(PR_SET_NAME, "berth-reader");
    // What is open here would stay open as long as this waits.
    if (syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE) != 0) return 0;
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, job->pair) != 0) job->pair[1] = -1;
    for (;;) {
      if (__atomic_load_n(&job->phase, __ATOMIC_ACQUIRE) == kReady) {
        job->wait(kReady, nullptr);
        continue;
      }
      job->work();
      __atomic_store_n(&job->phase, kReady, __ATOMIC_RELEASE);
      job->wake();
    }
  }

 private:
  // What it is given is closed when it returns.
  void work() {
    UniqueFd given;
    if (size == 0 ? !take(&given) : !read()) return;
    if (next.work != nullptr) next.work(next.argument, data, given.get());
  }

  bool read() {
    iovec here = {data, size};
    iovec there = {reinterpret_cast<void*>(address), size};
    if (process_vm_readv(process, &here, 1, &there, 1, 0) != static_cast<ssize_t>(size)) return false;
    __atomic_store_n(&isRead, true, __ATOMIC_RELEASE);
    return true;
  }

  bool take(UniqueFd* given) const {
    char byte;
    iovec part = {&byte, 1};
    msghdr message = messageOf(part);
    ControlBuffer<> room;
    if (receiveMessage(pair[0], message, room) < 0) return false;
    takeFds(message, [given](UniqueFd fd) { *given = static_cast<UniqueFd&&>(fd); });
    return given->valid();
  }
};

}  // namespace berthd
