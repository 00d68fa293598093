// Reads the memory of another process, which can make the read wait for ever (userfaultfd(2), a page of a FUSE file), in
// some cases beyond SIGKILL. So a process of its own reads, which shares our memory and has none of our descriptors: a
// thread that waits there would keep this process, and all that it has open, from ending.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

namespace berthd {

class MemoryReader {
 public:
  MemoryReader() : id_(__atomic_add_fetch(&lastId, 1, __ATOMIC_RELAXED)) {}

  // What the reading process does with what it has read: it may wait as well, and must allocate nothing.
  struct Next {
    void (*work)(void* argument, const uint8_t* data);
    void (*release)(void* argument);  // once nobody works with it any more
    void* argument;
  };

  // Whether no read of this reader waits any more.
  bool isIdle() { return sweep() == 0; }

  // 0; EFAULT; ETIMEDOUT when it takes too long, or too many reads of this reader still wait; EAGAIN or ENOMEM. Owns the
  // argument of `next`; 0 does not mean that this has come to its end.
  int read(pid_t process, uint64_t address, void* data, size_t size, const Next& next = {nullptr, nullptr, nullptr}) {
    if (size == 0 || size > kMost || sweep() >= kMaxLeft) {
      drop(next);
      return size == 0 ? 0 : size > kMost ? EINVAL : ETIMEDOUT;
    }
    auto* job = static_cast<Job*>(aligned_alloc(alignof(Job), sizeof(Job)));
    if (job == nullptr) {
      drop(next);
      return ENOMEM;
    }
    job->process = process;
    job->address = address;
    job->size = size;
    job->isRead = false;
    job->owner = id_;
    job->next = next;
    UniqueFd pidfd;
    const int error = start(job, &pidfd);
    if (error != 0) {
      release(job);
      return error;
    }
    const bool hasEnded = await(pidfd.get(), job);
    if (hasEnded) reap(job->reader, 0);
    else ::kill(job->reader, SIGKILL);
    const bool isRead = __atomic_load_n(&job->isRead, __ATOMIC_ACQUIRE);
    if (isRead) memcpy(data, job->data, size);
    if (hasEnded) release(job);
    else leave(job);
    return isRead ? 0 : hasEnded ? EFAULT : ETIMEDOUT;
  }

 private:
  static constexpr size_t kMost = 128;
  static constexpr size_t kMaxLeft = 4;
  static constexpr int64_t kTimeoutMs = 2000;
  static constexpr int64_t kNextTimeoutMs = 100;

  struct alignas(16) Job {
    char stack[16 * 1024];
    uint8_t data[kMost];
    pid_t process;
    uint64_t address;
    size_t size;
    bool isRead;
    pid_t reader;
    uint64_t owner;
    Next next;
    Job* after;
  };

  // Those that were killed and may still wait, of all readers of this process.
  static inline pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static inline Job* left = nullptr;
  static inline uint64_t lastId = 0;

  // In the new process. It shares the starting thread's errno, which that one does not look at meanwhile.
  static int work(void* argument) {
    auto* job = static_cast<Job*>(argument);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // What is open here would stay open as long as this waits.
    if (syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE) != 0) return 0;
    iovec here = {job->data, job->size};
    iovec there = {reinterpret_cast<void*>(job->address), job->size};
    if (process_vm_readv(job->process, &here, 1, &there, 1, 0) != static_cast<ssize_t>(job->size)) return 0;
    __atomic_store_n(&job->isRead, true, __ATOMIC_RELEASE);
    if (job->next.work != nullptr) job->next.work(job->next.argument, job->data);
    return 0;
  }

  static int start(Job* job, UniqueFd* pidfd) {
    // No handler of ours may run in it.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int number = -1;
    job->reader = clone(work, job->stack + sizeof job->stack, CLONE_VM | CLONE_FILES | CLONE_PIDFD, job, &number);
    const int error = job->reader < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pidfd->reset(number);
    return error;
  }

  static int64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * int64_t{1000} + time.tv_nsec / 1000000;
  }

  // What it does after the read gets less time: the caller has what it came for.
  static bool await(int pidfd, const Job* job) {
    const int64_t begin = now();
    pollfd watched = {pidfd, POLLIN, 0};
    for (;;) {
      const int64_t age = now() - begin;
      if (age >= kTimeoutMs || (age >= kNextTimeoutMs && __atomic_load_n(&job->isRead, __ATOMIC_ACQUIRE))) return false;
      const int64_t end = age < kNextTimeoutMs ? kNextTimeoutMs : kTimeoutMs;
      if (poll(&watched, 1, static_cast<int>(end - age)) > 0) return true;
    }
  }

  // Returns whether it has ended. No SIGCHLD tells of it, and nobody else waits for it.
  static bool reap(pid_t reader, int flags) {
    siginfo_t info;
    info.si_pid = 0;
    while (waitid(P_PID, static_cast<id_t>(reader), &info, WEXITED | __WALL | flags) != 0) {
      if (errno != EINTR) return true;
    }
    return info.si_pid != 0;
  }

  static void drop(const Next& next) {
    if (next.release != nullptr) next.release(next.argument);
  }

  static void release(Job* job) {
    drop(job->next);
    free(job);
  }

  static void leave(Job* job) {
    pthread_mutex_lock(&mutex);
    job->after = left;
    left = job;
    pthread_mutex_unlock(&mutex);
  }

  // Lets go of those that have ended. Returns how many of this reader have not.
  size_t sweep() {
    size_t count = 0;
    pthread_mutex_lock(&mutex);
    for (Job** at = &left; *at != nullptr;) {
      Job* job = *at;
      if (reap(job->reader, WNOHANG)) {
        *at = job->after;
        release(job);
        continue;
      }
      if (job->owner == id_) count++;
      at = &job->after;
    }
    pthread_mutex_unlock(&mutex);
    return count;
  }

  uint64_t id_;
};

}  // namespace berthd
