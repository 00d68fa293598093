// What a server that waits in bind(2) asked for. The server may end at any moment, and another process may get its pid.
// So a report counts only if the notification is still valid afterwards (seccomp_unotify(2)). Changes nothing.
#pragma once
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/fd.h"
#include "common/memory-reader.h"
#include "foreseen.h"

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
  UniqueFd pidfd;  // of the thread
  uint64_t network = 0;  // inode of the thread's network namespace; 0: unknown
  int stray = -1;  // what was no socket. A guard must close it: close(2) may wait
  uint8_t address[kAddressMax] = {};
  int length = 0;
  int error = 0;  // why the report is incomplete: an errno
  bool recalled = false;  // an earlier broker received it
  std::shared_ptr<const ForeseenBind> foreseen;
  std::shared_ptr<BindLook> look;  // the look that found it
  int question = -1;  // if it found none: the question whose calls it has made
  std::string state;  // their results
};

// `binds`: the foreseen ones. `questions`: for a bind that is none of them.
BindReport lookAtBind(const seccomp_notif& notification, MemoryReader& memory, const ForeseenBinds& binds,
                      const StateQuestions& questions);

// A pidfd of that thread. -1 and EINVAL before Linux 6.9, which knows only processes.
int openThread(pid_t thread);

// Whether that descriptor of the server is closed by execve(2).
bool isCloexec(pid_t thread, int number);

}  // namespace berthd
