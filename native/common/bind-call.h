// The arguments of a reported bind(2) call. The addon and the bind fallback both read them. They may be stale by the
// time they are used (seccomp_unotify(2)). Changes nothing.
#pragma once
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "memory-reader.h"

namespace berthd {

struct BindCall {
  int fd = -1;
  uint64_t address = 0;  // in the server's memory
  int length = 0;
};

// Returns 0, or why the arguments cannot be read where they are in memory: as MemoryReader::read.
inline int readBindCall(const seccomp_notif& notification, MemoryReader& memory, BindCall* call) {
  uint64_t args[3] = {notification.data.args[0], notification.data.args[1], notification.data.args[2]};
  int error = 0;
  static_cast<void>(memory);  // elsewhere they are in registers
#ifdef __x86_64__
  if (notification.data.arch == AUDIT_ARCH_I386) {
    constexpr int kSocketCall = 102;  // socketcall(SYS_BIND, long[3]) of a 32-bit program
    uint32_t words[3] = {static_cast<uint32_t>(args[0]), static_cast<uint32_t>(args[1]),
                         static_cast<uint32_t>(args[2])};
    if (notification.data.nr == kSocketCall) {
      const uint32_t where = words[1];
      words[0] = words[1] = words[2] = 0;
      error = memory.read(static_cast<pid_t>(notification.pid), where, words, sizeof words);
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
