// The ioctls of a seccomp listener.
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace berthd {

SeccompListener::SeccompListener(int notify, int record) : notify_(notify), record_(record) {
  if (!record_.valid()) return;
  void* memory = MAP_FAILED;
  if (::ftruncate(record_.get(), kRoom) == 0)
    memory = ::mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_SHARED, record_.get(), 0);
  if (memory == MAP_FAILED) error_ = errno;
  else call_ = static_cast<char*>(memory);
}

SeccompListener::~SeccompListener() {
  if (call_ != own_) ::munmap(call_, kRoom);
}

int SeccompListener::receive(seccomp_notif* notification) {
  // The kernel requires zeroes. It reports a call only once: if we are killed before we answer, the next broker finds
  // the call here.
  std::memset(call_, 0, kRoom);
  if (::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_RECV, call_) != 0) return errno;
  std::memcpy(notification, call_, sizeof *notification);
  return 0;
}

bool SeccompListener::recall(seccomp_notif* notification) {
  std::memcpy(notification, call_, sizeof *notification);
  return recorded() && isValid(notification->id);
}

bool SeccompListener::isValid(uint64_t id) const {
  return ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

void SeccompListener::answer(uint64_t id, int value) {
  seccomp_notif_resp response = {};
  response.id = id;
  if (value == kContinue) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  else response.error = -value;
  ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);  // ENOENT: it no longer waits
}

int SeccompListener::place(uint64_t id, int held, int number, bool cloexec) {
  seccomp_notif_addfd place = {};
  place.id = id;
  place.flags = SECCOMP_ADDFD_FLAG_SETFD;
  place.srcfd = static_cast<uint32_t>(held);
  place.newfd = static_cast<uint32_t>(number);
  place.newfd_flags = cloexec ? O_CLOEXEC : 0;
  return ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &place) < 0 ? errno : 0;
}

}  // namespace berthd
