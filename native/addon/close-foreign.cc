// Which descriptors can make close(2) wait, and the threads that wait for them.
#include "close-foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif
#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#endif

namespace berthd {
namespace {

constexpr int kMaxWaiting = 32;
constexpr size_t kStack = 64 * 1024;
std::atomic<int> waiting{0};

// AT_STATX_DONT_SYNC: else a FUSE file system would ask its program. A file that cannot be examined may wait too: a
// FUSE file of another user namespace (fuse(4)).
bool mayWait(int fd) {
  struct statx status;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0) return errno != EBADF;
  if (S_ISSOCK(status.stx_mode)) {
    struct linger linger = {};
    socklen_t size = sizeof linger;
    return ::getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff != 0 && linger.l_linger > 0;
  }
  // Files on a disk or in memory never wait for a program.
  return S_ISREG(status.stx_mode) && status.stx_dev_major == 0 && ::fcntl(fd, F_GET_SEALS) < 0;
}

void* closeOne(void* fd) {
  ::close(static_cast<int>(reinterpret_cast<intptr_t>(fd)));
  waiting--;
  return nullptr;
}

int closeOnThread(int fd) {
  if (++waiting > kMaxWaiting) {
    waiting--;
    return -EAGAIN;
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStack);
  // Node handles signals on its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, closeOne, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error == 0) return 0;
  waiting--;
  return -EAGAIN;
}

}  // namespace

int closeForeign(int fd) {
  if (mayWait(fd)) return closeOnThread(fd);
  return ::close(fd) < 0 ? -errno : 0;
}

}  // namespace berthd
