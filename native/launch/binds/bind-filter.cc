// The bind filter: the kernel asks the broker before each bind(2) of this process and its descendants
// (seccomp_unotify(2)). All other calls pass, at the cost of a few instructions.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "launch/plan.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace berthd {
namespace {

constexpr uint32_t at(size_t offset) { return static_cast<uint32_t>(offset); }

// Jumps count the instructions to skip. Each block ends in its own verdict.
#if defined(__x86_64__)
constexpr uint32_t kX32 = 0x40000000;  // the x32 variant has the same arch, and this bit in the number
constexpr sock_filter kProgram[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, arch))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, nr))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 9, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind | kX32, 8, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 0, 7),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, nr))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 361, 4, 0),  // bind
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 102, 0, 4),  // socketcall
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, args[0]))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 1, 0),    // SYS_BIND of linux/net.h
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
#elif defined(__aarch64__)
constexpr sock_filter kProgram[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, arch))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_AARCH64, 0, 2),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, nr))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 3, 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_ARM, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, nr))),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 282, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
#else
constexpr sock_filter kProgram[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
#endif

long install(unsigned long flags) {
  sock_fprog program = {sizeof kProgram / sizeof kProgram[0], const_cast<sock_filter*>(kProgram)};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

}  // namespace

UniqueFd reportBinds(uint32_t tracer) {
#if !defined(__x86_64__) && !defined(__aarch64__)
  fail(kSystem, "bind delivery does not support this architecture; set server.deliver = [\"listen-fds\"]");
#endif
  // Where Yama restricts ptrace(2), the server must allow a broker without privilege to trace it. The permission lasts
  // across exec. EINVAL: this kernel has no Yama (PR_SET_PTRACER(2const)).
  if (tracer != 0 && prctl(PR_SET_PTRACER, static_cast<unsigned long>(tracer), 0, 0, 0) != 0 && errno != EINVAL) {
    fail(kSystem, "cannot let the broker, pid %u, duplicate the server's sockets: %m", tracer);
  }
  // With this flag only a fatal signal interrupts a reported bind. Servers that signal themselves often, as Go does,
  // would otherwise restart the bind again and again. Since Linux 5.19; older kernels get no flag.
  long notify = install(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  if (notify < 0 && errno == EINVAL) notify = install(SECCOMP_FILTER_FLAG_NEW_LISTENER);
  if (notify < 0) {
    fail(kSystem, "cannot install the bind filter: %m; %s", errno == EBUSY
             ? "this process has such a filter already, and the kernel allows only one; start it without the other"
             : "the kernel needs CONFIG_SECCOMP_FILTER and to be 5.9 or later");
  }
  return UniqueFd(static_cast<int>(notify));
}

}  // namespace berthd
