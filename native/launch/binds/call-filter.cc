// The call filter: a seccomp filter that refuses system calls no server needs, for this process and its descendants.
// TIOCSTI and TIOCLINUX type into a terminal: a server could run commands in the shell that launched it. Namespaces
// give a server without privilege capabilities in them, and so a way to more of the kernel's code.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "launch/launch.h"

namespace berthd {
namespace {

// One way into the kernel, and the numbers that calls have there.
struct Abi {
  uint32_t arch;
  uint32_t ioctl, unshare, setns, clone;
  uint32_t x32Ioctl;  // 0 where there is no x32
};

constexpr Abi kAbis[] = {
#if defined(__x86_64__)
    // The x32 variant has the same arch. Its ioctl has another number, and older kernels take that without kX32, too.
    {AUDIT_ARCH_X86_64, SYS_ioctl, SYS_unshare, SYS_setns, SYS_clone, 514},
    {AUDIT_ARCH_I386, 54, 310, 346, 120, 0},
#elif defined(__aarch64__)
    {AUDIT_ARCH_AARCH64, SYS_ioctl, SYS_unshare, SYS_setns, SYS_clone, 0},
    {AUDIT_ARCH_ARM, 54, 337, 375, 120, 0},
#else
    {0, SYS_ioctl, SYS_unshare, SYS_setns, SYS_clone, 0},
#endif
};
constexpr bool kHasOneAbi = sizeof kAbis == sizeof kAbis[0];
constexpr uint32_t kClone3 = 435;  // everywhere
constexpr uint32_t kX32 = 0x40000000;  // this bit in the number marks an x32 call

constexpr uint32_t kPermit = SECCOMP_RET_ALLOW;
constexpr uint32_t kForbid = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kUnknown = SECCOMP_RET_ERRNO | ENOSYS;

constexpr uint32_t kNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr uint32_t kNewTime = 0x80;  // CLONE_NEWTIME, which in clone(2) is part of a signal's number

#if defined(__s390__)
constexpr size_t kCloneFlags = 1;
#else
constexpr size_t kCloneFlags = 0;
#endif

constexpr uint32_t at(size_t offset) { return static_cast<uint32_t>(offset); }

// The low half of an argument: the kernel ignores the high half of an int.
constexpr uint32_t argument(size_t index) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return at(offsetof(seccomp_data, args) + 8 * index + 4);
#else
  return at(offsetof(seccomp_data, args) + 8 * index);
#endif
}

// A filter that is being written. Everything in a block ends in a verdict, so no jump leads further than its end.
class Program {
 public:
  void load(uint32_t offset) { add(BPF_LD | BPF_W | BPF_ABS, offset); }
  void mask(uint32_t bits) { add(BPF_ALU | BPF_AND | BPF_K, bits); }
  void decide(uint32_t verdict) { add(BPF_RET | BPF_K, verdict); }
  void decideIfEqual(uint32_t value, uint32_t verdict) {
    const size_t block = beginIfEqual(value);
    decide(verdict);
    end(block);
  }
  void decideIfAny(uint32_t bits, uint32_t verdict) {
    code_[length_++] = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    decide(verdict);
  }
  // The block is skipped unless the loaded value is `value`.
  size_t beginIfEqual(uint32_t value) {
    add(BPF_JMP | BPF_JEQ | BPF_K, value);
    return length_;
  }
  void end(size_t block) { code_[block - 1].jf = static_cast<uint8_t>(length_ - block); }

  bool install() {
    sock_fprog program = {static_cast<unsigned short>(length_), code_};
    // Without the flag, kernels before 5.16 slow down every process that has a filter (PR_SPEC_STORE_BYPASS).
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0;
  }

 private:
  void add(unsigned operation, uint32_t value) { code_[length_++] = {static_cast<uint16_t>(operation), 0, 0, value}; }

  sock_filter code_[128] = {};
  size_t length_ = 0;
};

void refuseTyping(Program& program, uint32_t call) {
  const size_t ioctl = program.beginIfEqual(call);
  program.load(argument(1));
  program.decideIfEqual(TIOCSTI, kForbid);
  program.decideIfEqual(TIOCLINUX, kForbid);
  program.decide(kPermit);
  program.end(ioctl);
}

void refuseFlags(Program& program, uint32_t call, size_t index, uint32_t flags) {
  const size_t block = program.beginIfEqual(call);
  program.load(argument(index));
  program.decideIfAny(flags, kForbid);
  program.decide(kPermit);
  program.end(block);
}

// As systemd's RestrictNamespaces=yes. A filter cannot see the flags of clone3, which are in memory. Where it is
// unknown, libc calls clone.
void refuseNamespaces(Program& program, const Abi& abi) {
  program.decideIfEqual(abi.setns, kForbid);
  program.decideIfEqual(kClone3, kUnknown);
  refuseFlags(program, abi.unshare, 0, kNamespaces | kNewTime);
  refuseFlags(program, abi.clone, kCloneFlags, kNamespaces);
}

}  // namespace

void restrictCalls(bool noTyping, bool noNamespaces) {
  // A filter costs a tenth of a launch, and something for each call of the server.
  if (!noTyping && !noNamespaces) return;
  // Short: the kernel runs it once for each number of a system call when it is installed.
  Program program;
  program.load(at(offsetof(seccomp_data, arch)));
  for (const Abi& abi : kAbis) {
    const size_t block = kHasOneAbi ? 0 : program.beginIfEqual(abi.arch);
    program.load(at(offsetof(seccomp_data, nr)));
    if (abi.x32Ioctl != 0) program.mask(~kX32);
    if (noTyping && abi.x32Ioctl != 0) refuseTyping(program, abi.x32Ioctl);
    if (noTyping) refuseTyping(program, abi.ioctl);
    if (noNamespaces) refuseNamespaces(program, abi);
    program.decide(kPermit);
    if (!kHasOneAbi) program.end(block);
  }
  program.decide(kPermit);
  if (!program.install()) {
    fail(kSystem, "cannot install the call filter: %m; the kernel needs CONFIG_SECCOMP_FILTER");
  }
}

}  // namespace berthd
