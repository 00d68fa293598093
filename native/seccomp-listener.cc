// The ioctls of a seccomp listener.
#include "seccomp-listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>

namespace berthd {

int SeccompListener::Receive(seccomp_notif* notification) {
  // The kernel wants the structure zeroed, and may write a larger one than we know.
  alignas(seccomp_notif) char bytes[512] = {};
  if (::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_RECV, bytes) != 0) return errno;
  std::memcpy(notification, bytes, sizeof *notification);
  // The kernel reports a call once. If we are killed before it is answered, who comes after us finds it here.
  if (record_.valid() && ::pwrite(record_.get(), notification, sizeof *notification, 0) < 0) return errno;
  return 0;
}

bool SeccompListener::Recall(seccomp_notif* notification) {
  if (!record_.valid() || ::pread(record_.get(), notification, sizeof *notification, 0) != sizeof *notification)
    return false;
  // Received, but not written down any more: nothing is known of it but its number, which is one of the next.
  constexpr uint64_t kNear = 64;
  for (uint64_t id = notification->id + 1; id <= notification->id + kNear; id++) {
    if (IsValid(id)) Answer(id, EADDRNOTAVAIL);
  }
  return IsValid(notification->id);
}

bool SeccompListener::IsValid(uint64_t id) const {
  return ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

void SeccompListener::Answer(uint64_t id, int value) {
  seccomp_notif_resp response = {};
  response.id = id;
  if (value == kContinue) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  else response.error = -value;
  ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);  // ENOENT: it no longer waits
}

int SeccompListener::Place(uint64_t id, int held, int number, bool cloexec) {
  seccomp_notif_addfd place = {};
  place.id = id;
  place.flags = SECCOMP_ADDFD_FLAG_SETFD;
  place.srcfd = static_cast<uint32_t>(held);
  place.newfd = static_cast<uint32_t>(number);
  place.newfd_flags = cloexec ? O_CLOEXEC : 0;
  return ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &place) < 0 ? errno : 0;
}

}  // namespace berthd
