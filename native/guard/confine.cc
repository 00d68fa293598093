// What a worker may do: capabilities(7), seccomp(2).
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard.h"

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
constexpr size_t kAllowedCount = sizeof kAllowed / sizeof kAllowed[0];

constexpr sock_filter statement(uint16_t code, uint32_t value) { return {code, 0, 0, value}; }

constexpr sock_filter jump(uint32_t value, uint8_t yes, uint8_t no) {
  return {BPF_JMP | BPF_JEQ | BPF_K, yes, no, value};
}

// Everything else fails with EPERM. x32 calls have a bit in their number that none in the list has.
bool installFilter() {
  if (kArch == 0) return true;
  sock_filter program[kAllowedCount + 6];
  size_t at = 0;
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  program[at++] = jump(kArch, 1, 0);
  program[at++] = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[at++] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (size_t i = 0; i < kAllowedCount; i++) program[at++] = jump(kAllowed[i], static_cast<uint8_t>(kAllowedCount - i), 0);
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

bool confine(bool keepNetAdmin) { return (keepNetAdmin || setCapabilities(false)) && installFilter(); }

}  // namespace berthd
