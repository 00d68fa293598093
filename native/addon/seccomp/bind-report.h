// A bind(2) that a server waits in, looked at. The server may end, and its pid be another's, at any moment: nothing that
// was looked at counts until the notification was found valid afterwards (seccomp_unotify(2)). Changes nothing.
#pragma once
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/fd.h"

namespace berthd {

constexpr size_t kAddressMax = 128;  // sizeof(struct sockaddr_storage)

// What a server asked for. The socket is a duplicate of its own, of the same open file description.
struct BindReport {
  uint64_t id = 0;
  pid_t thread = 0;
  pid_t process = 0;
  int number = -1;  // the socket's number in the server
  bool cloexec = false;
  UniqueFd socket;
  uint8_t address[kAddressMax] = {};
  int length = 0;
  int error = 0;  // errno of what could not be looked at
  bool recalled = false;  // somebody before us received it
};

BindReport LookAtBind(const seccomp_notif& notification);

// Whether that descriptor of the server is closed by execve(2).
bool IsCloexec(pid_t thread, int number);

}  // namespace berthd
