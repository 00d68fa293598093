// The calls of kRun, one after the other, on descriptors that somebody else may hold up.
#include "socket-calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "guard/protocol.h"

namespace berthd {
namespace {

struct Head {
  int32_t call, index, a, b, length;
};

struct Result {
  int32_t value, length;
};

constexpr size_t padded(size_t length) { return (length + 3) & ~static_cast<size_t>(3); }

int32_t outcome(int result) { return result < 0 ? -errno : result; }

// More than any queue of connections or messages holds.
constexpr int32_t kMostDrained = 1 << 20;

// The kernel drops the descriptors that come with a message, for there is no room for them.
int32_t drain(int fd) {
  int isListening = 0;
  socklen_t size = sizeof isListening;
  ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size);
  for (int32_t count = 0; count < kMostDrained; count++) {
    pollfd watched = {fd, POLLIN, 0};
    if (::poll(&watched, 1, 0) <= 0 || (watched.revents & POLLIN) == 0) return count;
    char byte;
    const bool isTaken = isListening != 0
                             ? UniqueFd(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)).valid()
                             : ::recv(fd, &byte, sizeof byte, MSG_DONTWAIT) >= 0;
    if (!isTaken) return count;
  }
  return kMostDrained;
}

enum class Place { kRequest, kBatch };

long runSome(const uint8_t* in, size_t length, const UniqueFd* fds, size_t count, uint8_t* out, size_t room,
             Place place);

// The results go to `room`, where the caller has them, unless they are as expected.
int32_t runBatch(const uint8_t* bytes, size_t size, const UniqueFd& fd, uint8_t* room, socklen_t* length) {
  const size_t space = *length;
  *length = 0;
  int32_t expected;
  if (size < sizeof expected) return -EINVAL;
  memcpy(&expected, bytes, sizeof expected);
  bytes += sizeof expected;
  size -= sizeof expected;
  const size_t known = static_cast<size_t>(expected);
  if (expected < 0 || known > size) return -EINVAL;
  const long written = runSome(bytes + known, size - known, &fd, 1, room, space, Place::kBatch);
  if (written < 0) return -EINVAL;
  if (static_cast<size_t>(written) == known && memcmp(room, bytes, known) == 0) return 1;
  *length = static_cast<socklen_t>(written);
  return 0;
}

// This option's length counts instructions, not bytes (sk_get_filter in net/core/filter.c).
int32_t getFilter(int fd, uint8_t* room, socklen_t space, socklen_t* length) {
  socklen_t count = space / sizeof(sock_filter);
  if (::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, room, &count) < 0) return -errno;
  *length = static_cast<socklen_t>(count * sizeof(sock_filter));
  return static_cast<int32_t>(count);
}

int32_t setFilter(int fd, const uint8_t* bytes, socklen_t size) {
  if (size == 0 || size % sizeof(sock_filter) != 0 || size / sizeof(sock_filter) > BPF_MAXINSNS) return -EINVAL;
  sock_fprog program = {};
  program.len = static_cast<unsigned short>(size / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<uint8_t*>(bytes));
  return outcome(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

// `bytes` are the call's own; `room` is where its answer goes, and `length` what there is of it before and after.
int32_t carryOut(const Head& head, const UniqueFd& owned, const uint8_t* bytes, uint8_t* room, socklen_t* length) {
  if (head.call == kBatch) return runBatch(bytes, static_cast<size_t>(head.length), owned, room, length);
  const int fd = owned.get();
  const auto given = static_cast<socklen_t>(head.length);
  const auto* address = reinterpret_cast<const sockaddr*>(bytes);
  const socklen_t space = *length;
  *length = 0;
  switch (head.call) {
    case kGetsockopt: {
      socklen_t size = given < space ? given : space;
      const int result = ::getsockopt(fd, head.a, head.b, room, &size);
      if (result == 0) *length = size;
      return outcome(result);
    }
    case kGetword: {
      socklen_t size = given < space ? given : space;
      if (size < sizeof(int32_t)) return -EINVAL;
      memset(room, 0, size);
      socklen_t filled = size;
      const int result = ::getsockopt(fd, head.a, head.b, room, &filled);
      int32_t word;
      memcpy(&word, room + size - sizeof word, sizeof word);
      return result < 0 ? -errno : word;
    }
    case kSetsockopt:
      return outcome(::setsockopt(fd, head.a, head.b, bytes, given));
    case kGetsockname:
    case kGetpeername: {
      socklen_t size = space < sizeof(sockaddr_storage) ? space : sizeof(sockaddr_storage);
      auto* name = reinterpret_cast<sockaddr*>(room);
      const int result = head.call == kGetsockname ? ::getsockname(fd, name, &size) : ::getpeername(fd, name, &size);
      if (result == 0) *length = size < sizeof(sockaddr_storage) ? size : sizeof(sockaddr_storage);
      return outcome(result);
    }
    case kBind:
      return outcome(::bind(fd, address, given));
    case kConnect:
      return outcome(::connect(fd, address, given));
    case kListen:
      return outcome(::listen(fd, head.a));
    case kShutdown:
      return outcome(::shutdown(fd, head.a));
    case kPoll: {
      pollfd watched = {fd, static_cast<short>(head.a), 0};
      const int result = ::poll(&watched, 1, 0);
      return result < 0 ? -errno : watched.revents;
    }
    case kGetfl:
      return outcome(::fcntl(fd, F_GETFL));
    case kSetfl:
      return outcome(::fcntl(fd, F_SETFL, head.a));
    case kDrain:
      return drain(fd);
    case kGetfilter:
      return getFilter(fd, room, space, length);
    case kSetfilter:
      return setFilter(fd, bytes, given);
    default:
      return -ENOSYS;
  }
}

long runSome(const uint8_t* in, size_t length, const UniqueFd* fds, size_t count, uint8_t* out, size_t room,
             Place place) {
  size_t at = 0, written = 0;
  while (at < length) {
    Head head;
    if (length - at < sizeof head) return -1;
    memcpy(&head, in + at, sizeof head);
    at += sizeof head;
    if (head.call == kBatch && place == Place::kBatch) return -1;
    const bool brings = head.call != kGetsockopt && head.call != kGetword;
    const size_t size = static_cast<size_t>(head.length);
    if (head.length < 0 || (brings && padded(size) > length - at)) return -1;
    if (written + sizeof(Result) + sizeof(sockaddr_storage) > room) return -1;
    uint8_t* const answer = out + written + sizeof(Result);
    auto space = static_cast<socklen_t>(room - written - sizeof(Result));
    Result result = {-EBADF, 0};
    if (head.index >= 0 && static_cast<size_t>(head.index) < count) {
      result.value = carryOut(head, fds[head.index], in + at, answer, &space);
      result.length = result.value < 0 ? 0 : static_cast<int32_t>(space);
    }
    memcpy(out + written, &result, sizeof result);
    const size_t answered = static_cast<size_t>(result.length);
    written += sizeof result + padded(answered);
    if (written > room) return -1;
    // Results are compared, the bytes between them too.
    memset(answer + answered, 0, padded(answered) - answered);
    if (brings) at += padded(size);
  }
  return static_cast<long>(written);
}

}  // namespace

long runCalls(const uint8_t* in, size_t length, const UniqueFd* fds, size_t count, uint8_t* out, size_t room) {
  return runSome(in, length, fds, count, out, room, Place::kRequest);
}

BatchResults BatchResults::expected(const uint8_t* calls, size_t length) {
  int32_t size;
  if (length < sizeof(Head) + sizeof size) return BatchResults(nullptr, 0);
  memcpy(&size, calls + sizeof(Head), sizeof size);
  const size_t before = sizeof(Head) + sizeof size;
  const bool isThere = size >= 0 && static_cast<size_t>(size) <= length - before;
  return BatchResults(calls + before, isThere ? static_cast<size_t>(size) : 0);
}

BatchResults BatchResults::given(const uint8_t* out, size_t written) {
  CallResult batch;
  if (!BatchResults(out, written).next(&batch) || batch.value != 0) return BatchResults(nullptr, 0);
  return BatchResults(batch.bytes, static_cast<size_t>(batch.length));
}

bool BatchResults::next(CallResult* result) {
  Result head;
  const size_t left = static_cast<size_t>(end_ - at_);
  if (left < sizeof head) return false;
  memcpy(&head, at_, sizeof head);
  if (head.length < 0 || padded(static_cast<size_t>(head.length)) > left - sizeof head) return false;
  *result = {head.value, head.length, at_ + sizeof head};
  at_ += sizeof head + padded(static_cast<size_t>(head.length));
  return true;
}

}  // namespace berthd
