// Reads the memory of another process, which can make the read wait for ever (userfaultfd(2), a page of a FUSE file).
// Not even SIGKILL ends some of these waits. So a process of its own reads (reader-job.h), and stays for the next read.
#pragma once
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd.h"
#include "reader-job.h"
#include "rights.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace berthd {

// Of one thread, which starts the reading process and with which that ends.
class MemoryReader {
 public:
  MemoryReader() : id_(__atomic_add_fetch(&lastId, 1, __ATOMIC_RELAXED)) {}
  MemoryReader(MemoryReader&& other) noexcept
      : id_(other.id_), job_(other.job_), channel_(static_cast<UniqueFd&&>(other.channel_)) {
    other.job_ = nullptr;
  }
  MemoryReader& operator=(MemoryReader&& other) noexcept {
    if (this == &other) return *this;
    rest();
    id_ = other.id_;
    job_ = other.job_;
    other.job_ = nullptr;
    channel_ = static_cast<UniqueFd&&>(other.channel_);
    return *this;
  }
  ~MemoryReader() { rest(); }

  using Next = ReaderJob::Next;

  // Starts the process ahead of its first use. 0 or errno.
  int begin() { return job_ == nullptr ? start() : 0; }

  // Whether it is there.
  bool isThere() const { return job_ != nullptr; }

  // Ends it. The next read starts another one.
  void rest() {
    channel_.reset();
    if (job_ == nullptr) return;
    ::kill(job_->reader, SIGKILL);
    reap(job_->reader, 0);
    free(job_);
    job_ = nullptr;
  }

  // Whether no read of this reader waits any more.
  bool isIdle() { return sweep() == 0; }

  // 0; EFAULT; EINVAL for more than ReaderJob::kMost; ETIMEDOUT when it takes too long, or too many reads of this
  // reader still wait; EAGAIN or ENOMEM. Owns the argument of `next`. 0 does not mean that `next` has ended its work.
  int read(pid_t process, uint64_t address, void* data, size_t size, const Next& next = {nullptr, nullptr, nullptr}) {
    int error = 0;
    if (size > ReaderJob::kMost) error = EINVAL;
    else if (size > 0) error = sweep() >= kMaxLeft ? ETIMEDOUT : begin();
    if (error != 0 || size == 0) {
      drop(next);
      return error;
    }
    Job* const job = job_;
    job->process = process;
    job->address = address;
    job->size = size;
    job->isRead = false;
    const Outcome outcome = carryOut(next);
    const bool isRead = __atomic_load_n(&job->isRead, __ATOMIC_ACQUIRE);
    if (isRead) memcpy(data, job->data, size);
    conclude(outcome);
    return isRead ? 0 : outcome == Outcome::kLate ? ETIMEDOUT : EFAULT;
  }

  // Whether the process takes a descriptor, now that it has read something.
  bool mayGive() {
    if (channel_.valid()) return true;
    if (job_ == nullptr || job_->pair[1] < 0) return false;
    const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, job_->reader, 0)));
    channel_.reset(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), job_->pair[1], 0)));
    return channel_.valid();
  }

  // Has the process do something with a copy of this descriptor, which is borrowed. 0 when it has; ETIMEDOUT; or an
  // errno when it has not. Owns the argument of `next`.
  int give(int fd, const Next& next) {
    if (!mayGive() || !send(fd)) {
      drop(next);
      return EIO;
    }
    job_->size = 0;
    job_->isRead = false;
    const Outcome outcome = carryOut(next);
    conclude(outcome);
    return outcome == Outcome::kDone ? 0 : outcome == Outcome::kLate ? ETIMEDOUT : EIO;
  }

 private:
  static constexpr size_t kMaxLeft = 4;
  static constexpr int64_t kTimeoutMs = 2000;
  static constexpr int64_t kNextTimeoutMs = 100;

  enum class Outcome { kDone, kLate, kDied };

  using Job = ReaderJob;

  // Those that were killed and may still wait, of all readers of this process.
  static inline pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static inline Job* left = nullptr;
  static inline uint64_t lastId = 0;

  bool send(int fd) const {
    char byte = 0;
    iovec part = {&byte, 1};
    msghdr message = messageOf(part);
    ControlBuffer<> room;
    attachFds(message, room, &fd, 1);
    return sendmsg(channel_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
  }

  int start() {
    auto* job = static_cast<Job*>(aligned_alloc(alignof(Job), sizeof(Job)));
    if (job == nullptr) return ENOMEM;
    job->phase = ReaderJob::kReady;
    job->pair[0] = job->pair[1] = -1;
    job->parent = getpid();
    job->owner = id_;
    job->next = {nullptr, nullptr, nullptr};
    // No handler of ours may run in it.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    job->reader = clone(ReaderJob::serve, job->stack + sizeof job->stack, CLONE_VM | CLONE_FILES, job);
    const int error = job->reader < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) free(job);
    else job_ = job;
    return error;
  }

  Outcome carryOut(const Next& next) {
    job_->next = next;
    __atomic_store_n(&job_->phase, ReaderJob::kBusy, __ATOMIC_RELEASE);
    job_->wake();
    return await(job_);
  }

  // One that is late may wait for ever.
  void conclude(Outcome outcome) {
    if (outcome == Outcome::kDone) {
      drop(job_->next);
      job_->next = {nullptr, nullptr, nullptr};
      return;
    }
    channel_.reset();
    ::kill(job_->reader, SIGKILL);
    leave(job_);
    job_ = nullptr;
  }

  static int64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * int64_t{1000} + time.tv_nsec / 1000000;
  }

  // What it does after the read gets less time: the caller has what it came for. Work on a descriptor gets all the
  // time: on a loaded machine it may get no processor for a tenth of a second.
  static Outcome await(const Job* job) {
    const int64_t begin = now();
    constexpr timespec kTurn = {0, kNextTimeoutMs * 1000000};
    for (;;) {
      job->wait(ReaderJob::kBusy, &kTurn);
      if (__atomic_load_n(&job->phase, __ATOMIC_ACQUIRE) == ReaderJob::kReady) return Outcome::kDone;
      const int64_t age = now() - begin;
      const bool isNext = __atomic_load_n(&job->isRead, __ATOMIC_ACQUIRE);
      if (age >= (isNext ? kNextTimeoutMs : kTimeoutMs)) return Outcome::kLate;
      if (reap(job->reader, WNOHANG | WNOWAIT)) return Outcome::kDied;
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
        drop(job->next);
        free(job);
        continue;
      }
      if (job->owner == id_) count++;
      at = &job->after;
    }
    pthread_mutex_unlock(&mutex);
    return count;
  }

  uint64_t id_;
  Job* job_ = nullptr;
  UniqueFd channel_;  // our end of the pair
};

}  // namespace berthd
