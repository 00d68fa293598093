// What the reading process asks: is the address one of them, and the server's socket as expected?
#include "foreseen.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "bind-report.h"
#include "common/fd.h"
#include "common/socket-calls.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace berthd {
namespace {

using Share = std::shared_ptr<BindLook>;

uint64_t inodeOf(int fd) {
  struct stat status;
  return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

}  // namespace

BindLook::BindLook(ForeseenBinds binds, pid_t thread, int number, int socket, size_t length)
    : binds_(std::move(binds)), thread_(thread), number_(number), length_(length), inode_(inodeOf(socket)) {}

MemoryReader::Next BindLook::next(const Share& look) {
  return {[](void* argument, const uint8_t* data, int) { (*static_cast<Share*>(argument))->work(data); },
          [](void* argument) { delete static_cast<Share*>(argument); }, new Share(look)};
}

std::shared_ptr<const ForeseenBind> BindLook::found() const {
  const int found = __atomic_load_n(&found_, __ATOMIC_ACQUIRE);
  return found < 0 ? nullptr : binds_[static_cast<size_t>(found)];
}

// Allocates nothing, and touches no share: the thread that has started it may let go of its own meanwhile.
void BindLook::work(const uint8_t* data) {
  for (size_t i = 0; i < binds_.size(); i++) {
    const ForeseenBind& bind = *binds_[i];
    if (bind.address.size() != length_ || std::memcmp(bind.address.data(), data, length_) != 0) continue;
    if (isAsExpected(bind)) __atomic_store_n(&found_, static_cast<int>(i), __ATOMIC_RELEASE);
    return;
  }
}

bool BindLook::isAsExpected(const ForeseenBind& bind) {
  // This process has a table of descriptors of its own, which is empty: it takes the socket again.
  const UniqueFd pidfd(openThread(thread_));
  const UniqueFd socket(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), number_, 0)));
  // The server may have put another one there.
  if (!socket.valid() || inodeOf(socket.get()) != inode_) return false;
  const auto* calls = reinterpret_cast<const uint8_t*>(bind.calls.data());
  const long written = runCalls(calls, bind.calls.size(), &socket, 1, results_, sizeof results_);
  constexpr int32_t kAsExpected[] = {1, 0};
  return written == sizeof kAsExpected && std::memcmp(results_, kAsExpected, sizeof kAsExpected) == 0;
}

}  // namespace berthd
