// What a doorman does with the sockets of a sleeping server: it looks at datagrams, reads and answers them. And the
// confinement of the process that does so (seccomp(2)).
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value receiveFrom(const Napi::CallbackInfo& info) {
  int32_t fd, peek;
  Span<uint8_t> data, address;
  if (!readArguments(info, &fd, &data, &address, &peek)) return info.Env().Undefined();
  socklen_t length = static_cast<socklen_t>(address.length);
  const int flags = MSG_DONTWAIT | MSG_TRUNC | (peek != 0 ? MSG_PEEK : 0);
  return outcome(info, retryOnEintr([&] {
                   return ::recvfrom(fd, data.data, data.length, flags, reinterpret_cast<sockaddr*>(address.data),
                                     &length);
                 }));
}

Napi::Value sendTo(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> data, address;
  if (!readArguments(info, &fd, &data, &address)) return info.Env().Undefined();
  return outcome(info, retryOnEintr([&] {
                   return ::sendto(fd, data.data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL,
                                   reinterpret_cast<const sockaddr*>(address.data),
                                   static_cast<socklen_t>(address.length));
                 }));
}

// Interrupts this thread after so long, and again and again: a first signal may come before the call begins.
class Interruption {
 public:
  explicit Interruption(int milliseconds) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // without SA_RESTART, so that the call ends with EINTR
    ::sigaction(SIGALRM, &action, nullptr);
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event._sigev_un._tid = static_cast<pid_t>(::syscall(SYS_gettid));
    isSet_ = ::syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer_) == 0;
    const timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    const itimerspec times = {wait, wait};
    if (isSet_) isSet_ = ::syscall(SYS_timer_settime, timer_, 0, &times, nullptr) == 0;
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption() {
    const int error = errno;
    ::syscall(SYS_timer_delete, timer_);
    errno = error;
  }
  bool isSet() const { return isSet_; }

 private:
  int timer_ = -1;
  bool isSet_ = false;
};

// A listening socket that others share may be a blocking one, and its flags are theirs. No flag of accept4(2) says that
// this call must not wait: so a timer ends it.
Napi::Value acceptWithin(const Napi::CallbackInfo& info) {
  int32_t fd, milliseconds;
  if (!readArguments(info, &fd, &milliseconds)) return info.Env().Undefined();
  const Interruption interruption(milliseconds < 1 ? 1 : milliseconds);
  if (!interruption.isSet()) return outcome(info, -1);
  int accepted = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (accepted < 0 && errno == EINTR) errno = EAGAIN;
  return outcome(info, accepted);
}

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif

// What Node needs to go on, and what a doorman does with the descriptors that it has: it gets no new one but by recvmsg
// and accept4. No call takes a path, makes a process, or connects.
constexpr uint32_t kAllowed[] = {
    // descriptors
    SYS_recvmsg, SYS_recvfrom, SYS_sendmsg, SYS_sendto, SYS_accept4, SYS_shutdown, SYS_close, SYS_read, SYS_write,
    SYS_writev, SYS_ppoll, SYS_epoll_pwait, SYS_epoll_ctl, SYS_getsockopt, SYS_getpeername,
    // memory and threads that are there
    SYS_munmap, SYS_madvise, SYS_mremap, SYS_brk, SYS_futex, SYS_sched_yield, SYS_membarrier,
    SYS_getpid, SYS_gettid, SYS_set_robust_list, SYS_rseq, SYS_sched_getaffinity, SYS_getrusage,
    // time, signals, the end
    SYS_timer_create, SYS_timer_settime, SYS_timer_delete, SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep,
    SYS_gettimeofday, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_exit, SYS_exit_group, SYS_getrandom,
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
};

constexpr sock_filter statement(uint16_t code, uint32_t value) { return {code, 0, 0, value}; }

constexpr sock_filter jump(uint32_t value, uint8_t yes, uint8_t no) {
  return {BPF_JMP | BPF_JEQ | BPF_K, yes, no, value};
}

// Of these calls only one request each.
constexpr struct {
  uint32_t call, request;
} kRequests[] = {{SYS_ioctl, SIOCGSTAMPNS_NEW}, {SYS_fcntl, F_GETFD}};

// setsockopt(2): a filter of eBPF that the broker gave, and none (held.ts).
constexpr uint32_t kOptions[] = {SO_ATTACH_BPF, SO_DETACH_FILTER};

// Memory for data: Node runs with --jitless, so no code is made any more. pkey_mprotect(2) is not allowed at all.
constexpr uint32_t kMapping[] = {SYS_mmap, SYS_mprotect};

// Of all threads: seccomp(2), SECCOMP_FILTER_FLAG_TSYNC.
int installFilter() {
  constexpr size_t kCount = sizeof kAllowed / sizeof kAllowed[0];
  static_assert(kCount < 200, "a jump has 8 bits");
  constexpr uint32_t kLowHalf = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
  sock_filter program[kCount + 34];
  size_t at = 0;
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  program[at++] = jump(kArch, 1, 0);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (const auto& [call, request] : kRequests) {
    program[at++] = jump(call, 0, 4);
    program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1]) + kLowHalf);
    program[at++] = jump(request, 1, 0);
    program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  program[at++] = jump(SYS_setsockopt, 0, 7);
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1]) + kLowHalf);
  program[at++] = jump(SOL_SOCKET, 0, 4);
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2]) + kLowHalf);
  program[at++] = jump(kOptions[0], 1, 0);
  program[at++] = jump(kOptions[1], 0, 1);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  for (const uint32_t call : kMapping) {
    program[at++] = jump(call, 0, 4);
    program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2]) + kLowHalf);
    program[at++] = {BPF_JMP | BPF_JSET | BPF_K, 0, 1, PROT_EXEC};
    program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  for (size_t i = 0; i < kCount; i++) program[at++] = jump(kAllowed[i], static_cast<uint8_t>(kCount - i), 0);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog filter = {static_cast<unsigned short>(at), program};
  const long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
  if (result > 0) errno = EBUSY;  // a thread that has another filter
  return result == 0 ? 0 : -1;
}

// No memory for others to read, and an end with the broker's: setuid(2) has cleared what berth-doorman set. The name
// tells the broker's searches that this is no server.
int lower() {
  prctl(PR_SET_NAME, "berth-doorman");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return -1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

Napi::Value confineDoorman(const Napi::CallbackInfo& info) {
  int result = lower();
  if (result == 0) result = installFilter();
  return outcome(info, result);
}

// Node's own way out looks at files, which no longer works.
Napi::Value exitNow(const Napi::CallbackInfo& info) {
  int32_t status;
  if (readArgument(info, 0, &status)) _exit(status);
  return info.Env().Undefined();
}

}  // namespace

void exportDoorman(Napi::Env env, Napi::Object exports) {
  exportFunction<receiveFrom>(env, exports, "recvfrom");
  exportFunction<sendTo>(env, exports, "sendto");
  exportFunction<acceptWithin>(env, exports, "acceptWithin");
  exportFunction<confineDoorman>(env, exports, "confineDoorman");
  exportFunction<exitNow>(env, exports, "exitNow");
}

}  // namespace berthd
