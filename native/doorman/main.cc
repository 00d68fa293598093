// berth-doorman: executes Node for a doorman, so that the process cannot outlive the broker and has no io_uring. Node's
// event loop makes rings at its start and calls epoll_ctl(2) by them. A ring can also open files, whatever a filter of
// seccomp(2) says later. Without io_uring_setup(2) Node does without.
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif

namespace {

// src/broker/demand/doorman/doorman-process.ts knows these.
constexpr int kUsage = 100;
constexpr int kNotLowered = 111;
constexpr int kNotExecuted = 112;

// The last descriptor that Node gets.
constexpr unsigned kChannel = 3;

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif

// The program still reads its own files, and then takes the server's user.
constexpr unsigned long kKept[] = {CAP_SETUID, CAP_SETGID, CAP_DAC_READ_SEARCH};

constexpr bool isKept(unsigned long capability) {
  for (const unsigned long kept : kKept)
    if (capability == kept) return true;
  return false;
}

bool lowerCapabilities() {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
    // EPERM without CAP_SETPCAP: no_new_privs makes the bounding set harmless.
    if (!isKept(capability)) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0) return false;
  uint32_t kept = 0;
  for (const unsigned long capability : kKept) kept |= data[0].permitted & CAP_TO_MASK(capability);
  __user_cap_data_struct lowered[2] = {{kept, kept, 0}, {0, 0, 0}};
  return syscall(SYS_capset, &header, lowered) == 0;
}

bool forbidRings() {
  sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch)},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, kArch},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_io_uring_setup},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog filter = {sizeof program / sizeof program[0], program};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && strcmp(arguments[1], "--version") == 0) {
    puts("berth-doorman " BERTHD_VERSION);
    return 0;
  }
  if (count < 3) {
    fputs("berth-doorman: berthd starts this program; it does nothing by itself\n", stderr);
    return kUsage;
  }
  // A core would have the secret of the challenges.
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  // If the broker has ended before this, the end of the channel tells.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || !lowerCapabilities() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      !forbidRings()) {
    return kNotLowered;
  }
  syscall(SYS_close_range, kChannel + 1, ~0U, 0);
  char* environment[] = {nullptr};
  execve(arguments[1], arguments + 1, environment);
  return kNotExecuted;
}
