// What a worker may do: capabilities(7), seccomp(2).
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace berthd {
namespace {

bool readCapabilities(__user_cap_data_struct (&data)[2]) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &header, data) == 0;
}

constexpr unsigned long kKept[] = {CAP_NET_ADMIN, CAP_NET_RAW};

constexpr bool isKept(unsigned long capability) { return capability == kKept[0] || capability == kKept[1]; }

// Only lowers: of kKept no more than there is now.
bool setCapabilities(bool keepNetAdmin) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (!readCapabilities(data)) return false;
  const uint32_t kept = keepNetAdmin ? data[0].permitted & (CAP_TO_MASK(kKept[0]) | CAP_TO_MASK(kKept[1])) : 0;
  __user_cap_data_struct lowered[2] = {{kept, kept, 0}, {0, 0, 0}};
  return syscall(SYS_capset, &header, lowered) == 0;
}

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArch = 0;
#endif

// In the order of how often they are called.
constexpr uint32_t kAllowed[] = {
    SYS_recvmsg,     SYS_sendmsg,      SYS_recvfrom, SYS_close,     SYS_statx,       SYS_fcntl,
    SYS_getsockopt,  SYS_setsockopt,   SYS_ppoll,    SYS_listen,    SYS_getsockname, SYS_getpeername,
    SYS_connect,     SYS_accept4,      SYS_bind,         SYS_shutdown, SYS_setitimer, SYS_readlinkat,  SYS_pread64,
    SYS_exit_group,  SYS_rt_sigreturn, SYS_restart_syscall, SYS_dup3, SYS_epoll_ctl,
#ifdef SYS_poll
    SYS_poll,
#endif
#if defined(__SANITIZE_ADDRESS__)
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_futex, SYS_write, SYS_getpid, SYS_gettid, SYS_sigaltstack,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_clock_gettime, SYS_sched_yield, SYS_openat, SYS_read, SYS_clone,
    SYS_prctl, SYS_wait4, SYS_ptrace, SYS_tgkill,
#endif
};

// For the keeper, besides clone(2).
constexpr uint32_t kAllowedKeeper[] = {
    SYS_recvmsg, SYS_sendmsg,     SYS_close,           SYS_close_range,    SYS_ppoll,         SYS_socketpair,
    SYS_wait4,   SYS_setitimer,   SYS_rt_sigtimedwait, SYS_rt_sigprocmask, SYS_clock_gettime, SYS_mmap,
    SYS_munmap,  SYS_exit_group,  SYS_rt_sigreturn,    SYS_restart_syscall,
#ifdef SYS_poll
    SYS_poll,
#endif
#if defined(__SANITIZE_ADDRESS__)
    SYS_mprotect, SYS_madvise, SYS_futex, SYS_write, SYS_getpid, SYS_gettid, SYS_sigaltstack, SYS_rt_sigaction,
    SYS_sched_yield, SYS_openat, SYS_read, SYS_prctl, SYS_ptrace, SYS_tgkill,
#endif
};

constexpr sock_filter statement(uint16_t code, uint32_t value) { return {code, 0, 0, value}; }

constexpr sock_filter jump(uint32_t value, uint8_t yes, uint8_t no) {
  return {BPF_JMP | BPF_JEQ | BPF_K, yes, no, value};
}

enum class Children { kNone, kAlike };

// Everything else fails with EPERM. x32 calls have a bit in their number that none in the list has. Children are alike:
// in the same namespaces, with the same memory or a copy, and under the same filter.
template <size_t count>
bool installFilter(const uint32_t (&allowed)[count], Children children) {
  if (kArch == 0) return true;
  constexpr uint32_t kLowHalf = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
  sock_filter program[count + 12];
  size_t at = 0;
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  program[at++] = jump(kArch, 1, 0);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  if (children == Children::kAlike) {
    program[at++] = jump(SYS_clone, 0, 5);
    program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0]) + kLowHalf);
    program[at++] = statement(BPF_ALU | BPF_AND | BPF_K, ~static_cast<uint32_t>(CLONE_FILES));
    program[at++] = jump(SIGCHLD, 0, 1);
    program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  }
  for (size_t i = 0; i < count; i++) program[at++] = jump(allowed[i], static_cast<uint8_t>(count - i), 0);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog filter = {static_cast<unsigned short>(at), program};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

bool dropPrivilege() {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
    // EPERM without CAP_SETPCAP: no_new_privs makes the bounding set harmless.
    if (!isKept(capability)) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && setCapabilities(true);
}

bool confine(bool keepNetAdmin) {
  return (keepNetAdmin || setCapabilities(false)) && installFilter(kAllowed, Children::kNone);
}

bool confineKeeper() { return setCapabilities(false) && installFilter(kAllowedKeeper, Children::kAlike); }

}  // namespace berthd
