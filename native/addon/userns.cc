// A user namespace as a descriptor. The kernel refuses unshare(2) to a process with threads (hazard 20), so a child
// makes the namespace. The child waits until its maps are written and the namespace is opened, and ends before the
// call returns.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "args.h"
#include "common/fd.h"
#include "exports.h"

namespace berthd {
namespace {

// The child is a copy of a large process, and the machine may be busy.
constexpr int kChildTimeoutMs = 2000;

struct Request {
  pid_t parent;
  uint32_t owner;
  // Whether the child becomes the owner first, and the pipe on which it reports that.
  bool becomesOwner;
  int tell;
};

// Runs in the child. Raw system calls only: the parent has threads, and may share its memory.
int waitInChild(void* argument) {
  const Request* request = static_cast<const Request*>(argument);
  int error = 0;
  if (request->becomesOwner) {
    long id = request->owner;
    // The effective ids alone: they make the owner. By the real or the saved one its processes could signal us
    // (kill(2)).
    if (::syscall(SYS_setgroups, 0, nullptr) < 0 || ::syscall(SYS_setresgid, -1L, id, -1L) < 0 ||
        ::syscall(SYS_setresuid, -1L, id, -1L) < 0) {
      error = errno;
    } else {
      // Its memory is a copy of the broker's, and its user must not look into it: whatever fs.suid_dumpable says.
      ::syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
      if (::syscall(SYS_unshare, CLONE_NEWUSER) < 0) error = errno;
    }
  }
  // After the change of ids, which clears it.
  ::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::syscall(SYS_getppid) != request->parent) return 0;
  if (request->becomesOwner) {
    if (::syscall(SYS_write, request->tell, &error, sizeof error) < 0) return 0;
  }
  for (;;) ::syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);  // arm64 has no pause(2)
}

int writeMap(pid_t pid, const char* name, const char* map) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), map, strlen(map)) >= 0 ? 0 : -errno;
}

int openMapped(pid_t pid, uint32_t base, uint32_t count) {
  char map[64];
  snprintf(map, sizeof map, "0 %u %u\n", base, count);
  int error = writeMap(pid, "uid_map", map);
  if (error == 0) error = writeMap(pid, "gid_map", map);
  if (error != 0) return error;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

// With an owner other than the caller the child is a fork, some milliseconds; else it shares the caller's memory,
// some ten microseconds. A child that has another's ids and shares our memory would be a door into it.
int makeUserns(uint32_t base, uint32_t count, uint32_t owner) {
  // To setresuid(2) it means "leave it".
  if (owner == ~0U) return -EINVAL;
  alignas(16) static thread_local char stack[16384];
  bool becomesOwner = owner != ::geteuid();
  UniqueFd told, tell;
  if (becomesOwner) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return -errno;
    told.reset(ends[0]);
    tell.reset(ends[1]);
  }
  Request request = {::getpid(), owner, becomesOwner, tell.get()};
  // The child has the handlers of its parent, and must not run them; only SIGKILL ends it.
  sigset_t all, before;
  sigfillset(&all);
  if (int error = pthread_sigmask(SIG_SETMASK, &all, &before)) return -error;
  // No exit signal: SIGCHLD is not for a child that nobody else shall know of. Shared descriptors need not be copied,
  // and a broker may have thousands.
  int flags = becomesOwner ? 0 : CLONE_VM | CLONE_FILES | CLONE_NEWUSER;
  pid_t pid = ::clone(waitInChild, stack + sizeof stack, flags, &request);
  int result = pid < 0 ? -errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return result;
  if (becomesOwner) {
    tell.reset();
    int error = ETIMEDOUT;
    // As soon as the namespace is there its owner may stop the child, and must not stop its parent by that.
    pollfd ready = {told.get(), POLLIN, 0};
    if (retryOnEintr([&] { return ::poll(&ready, 1, kChildTimeoutMs); }) == 1 &&
        retryOnEintr([&] { return ::read(told.get(), &error, sizeof error); }) != sizeof error) {
      error = EIO;
    }
    result = -error;
  }
  if (result == 0) result = openMapped(pid, base, count);
  ::kill(pid, SIGKILL);
  retryOnEintr([&] { return ::waitpid(pid, nullptr, __WALL); });
  return result;
}

Napi::Value userns(const Napi::CallbackInfo& info) {
  uint32_t base, count, owner;
  if (!readArguments(info, &base, &count, &owner)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), makeUserns(base, count, owner));
}

}  // namespace

void exportUserns(Napi::Env env, Napi::Object exports) { exportFunction<userns>(env, exports, "userns"); }

}  // namespace berthd
