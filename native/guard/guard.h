// berth-guard: processes that touch descriptors which somebody else has or had, so that the broker does not have to. A
// peer can make such a call wait for ever, and not even SIGKILL ends some of these waits.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "common/fd.h"
#include "protocol.h"

namespace berthd {

// Drops what the zygote never needs: all capabilities but CAP_NET_ADMIN and CAP_NET_RAW, for good.
bool dropPrivilege();

// Leaves a worker nothing but bytes and descriptors: no capability, but those two if they are kept (SO_RCVBUFFORCE,
// SO_MARK, SO_BINDTODEVICE), and a seccomp filter that allows only what a worker calls. False with errno.
bool confine(bool keepNetAdmin);

// As confine: leaves the keeper descriptors, and processes that are like it.
bool confineKeeper();

// What a worker asks about a descriptor, opened before it is confined.
class Sorter {
 public:
  // False with errno.
  bool open();
  // Makes no call that a file system could leave without an answer.
  Verdict look(int fd) const;

 private:
  bool isSeccompListener(int fd) const;
  bool isLocal(uint64_t mount, unsigned major, unsigned minor) const;

  UniqueFd own_;     // /proc/self/fd
  UniqueFd mounts_;  // /proc/self/mountinfo
  unsigned pipeMajor_ = 0;
  unsigned pipeMinor_ = 0;
};

// What became of the registrations of a socket in epolls.
struct Carried {
  int32_t count = 0;
  int32_t failed = 0;
  int32_t error = 0;  // of the first that failed
};

// `fds` are a socket and, from the second on, pairs of an epoll's fdinfo and the epoll. Deletes what the epolls have of
// the socket under those numbers. Returns how many.
int32_t forgetRegistrations(const UniqueFd* fds, size_t count, const int32_t* numbers, size_t numberCount);

// `fds` are the new socket, the old one, and pairs of an epoll's fdinfo and the epoll.
Carried carryRegistrations(const UniqueFd* fds, size_t count);

// Serves requests on the channel until the broker closes it.
void serveWorker(int channel, bool keepNetAdmin);

// Keeps what the broker gives it until the broker takes it back, or ends.
void serveKeeper(int channel);

// Owns the descriptors, and closes them for the last time. None holds up another: a close that waits does so in a
// process of its own. Calls `onSlow` if that takes long; its result is whether to wait further. Returns whether all are
// closed.
bool closeApart(const int* fds, size_t count, bool (*onSlow)(void*), void* argument);

}  // namespace berthd
