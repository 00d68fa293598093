// The arguments of a reported bind(2) call. The addon and the bind fallback both read them. They may be stale by the
// time they are used (seccomp_unotify(2)). Changes nothing.
#pragma once
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

namespace berthd {

struct BindCall {
  int fd = -1;
  uint64_t address = 0;  // in the server's memory
  int length = 0;
};

// /proc/PID/mem would also read memory that the server cannot read itself, where bind(2) fails with EFAULT.
inline bool readMemory(pid_t thread, uint64_t address, void* data, size_t size) {
  iovec here = {data, size};
  iovec there = {reinterpret_cast<void*>(address), size};
  return size == 0 || ::process_vm_readv(thread, &here, 1, &there, 1, 0) == static_cast<ssize_t>(size);
}

// Returns 0, or EFAULT when the arguments are in memory that cannot be read.
inline int readBindCall(const seccomp_notif& notification, BindCall* call) {
  uint64_t args[3] = {notification.data.args[0], notification.data.args[1], notification.data.args[2]};
  int error = 0;
#ifdef __x86_64__
  if (notification.data.arch == AUDIT_ARCH_I386) {
    constexpr int kSocketCall = 102;  // socketcall(SYS_BIND, long[3]) of a 32-bit program
    uint32_t words[3] = {static_cast<uint32_t>(args[0]), static_cast<uint32_t>(args[1]),
                         static_cast<uint32_t>(args[2])};
    if (notification.data.nr == kSocketCall) {
      const uint32_t where = words[1];
      words[0] = words[1] = words[2] = 0;
      if (!readMemory(static_cast<pid_t>(notification.pid), where, words, sizeof words)) error = EFAULT;
    }
    for (int i = 0; i < 3; i++) args[i] = words[i];
  }
#endif
  call->fd = static_cast<int>(args[0]);
  call->address = args[1];
  call->length = static_cast<int>(args[2]);
  return error;
}

}  // namespace berthd
