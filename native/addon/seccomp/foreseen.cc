// The look of the reading process: whether a bind is a foreseen one, and what the server has set on its socket before.
// Then the same process sets that on the held socket.
#include "foreseen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
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

// -1 without a socket.
int optionOf(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

void release(void* argument) { delete static_cast<Share*>(argument); }

bool isSame(const CallResult& a, const CallResult& b) {
  return a.value == b.value && a.length == b.length &&
         std::memcmp(a.bytes, b.bytes, static_cast<size_t>(a.length)) == 0;
}

// Whether a new socket gives that for the option at this moment. That is `opened`, if it is one already.
bool isUsual(const ForeseenBind& bind, const Variation& variation, const CallResult& usual, UniqueFd* opened) {
  if (!opened->valid()) opened->reset(::socket(bind.domain, bind.type | SOCK_CLOEXEC, 0));
  const int fresh = opened->get();
  uint8_t value[64];
  socklen_t size = static_cast<socklen_t>(usual.length);
  if (size > sizeof value || ::getsockopt(fresh, variation.level, variation.option, value, &size) != 0) return false;
  return size == static_cast<socklen_t>(usual.length) && std::memcmp(value, usual.bytes, size) == 0;
}

}  // namespace

BindLook::BindLook(ForeseenBinds binds, StateQuestions questions, pid_t thread, int number, int socket, size_t length)
    : binds_(std::move(binds)),
      questions_(std::move(questions)),
      thread_(thread),
      number_(number),
      length_(length),
      inode_(inodeOf(socket)) {}

MemoryReader::Next BindLook::next(const Share& look) {
  return {[](void* argument, const uint8_t* data, int) { (*static_cast<Share*>(argument))->work(data); }, release,
          new Share(look)};
}

MemoryReader::Next BindLook::carryOver(const Share& look) {
  return {[](void* argument, const uint8_t*, int held) { (*static_cast<Share*>(argument))->carryAll(held); }, release,
          new Share(look)};
}

std::shared_ptr<const ForeseenBind> BindLook::found() const {
  const int found = __atomic_load_n(&found_, __ATOMIC_ACQUIRE);
  return found < 0 ? nullptr : binds_[static_cast<size_t>(found)];
}

std::vector<int32_t> BindLook::varied() const {
  std::vector<int32_t> indices;
  for (size_t i = 0; i < count_; i++) indices.push_back(varied_[i].index);
  return indices;
}

template <typename Test>
bool BindLook::anyVaried(Test test) const {
  const auto bind = found();
  for (size_t i = 0; bind != nullptr && i < count_; i++) {
    for (const Variation& variation : bind->variations)
      if (variation.index == varied_[i].index && test(static_cast<Variation::How>(variation.how))) return true;
  }
  return false;
}

bool BindLook::carries() const {
  return anyVaried([](Variation::How how) { return how != Variation::kTell; });
}

bool BindLook::carriesNonblock() const {
  return anyVaried([](Variation::How how) { return how == Variation::kNonblock; });
}

// Allocates nothing, and touches no share: the thread that has started it may let go of its own meanwhile.
void BindLook::work(const uint8_t* data) {
  for (size_t i = 0; i < binds_.size(); i++) {
    const ForeseenBind& bind = *binds_[i];
    if (bind.address.size() != length_ || std::memcmp(bind.address.data(), data, length_) != 0) continue;
    if (!isAsExpected(bind)) continue;
    __atomic_store_n(&found_, static_cast<int>(i), __ATOMIC_RELEASE);
    return;
  }
  ask();
}

// This process has a table of descriptors of its own: it takes the socket again.
UniqueFd BindLook::take() const {
  const UniqueFd pidfd(openThread(thread_));
  UniqueFd socket(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), number_, 0)));
  // The server may have put another one there.
  if (socket.valid() && inodeOf(socket.get()) != inode_) socket.reset();
  return socket;
}

void BindLook::ask() {
  const UniqueFd socket = questions_.empty() ? UniqueFd() : take();
  const int domain = optionOf(socket.get(), SO_DOMAIN);
  const int type = optionOf(socket.get(), SO_TYPE);
  for (const auto& question : questions_) {
    if (question->domain != domain || question->type != type) continue;
    const auto* calls = reinterpret_cast<const uint8_t*>(question->calls.data());
    const long written = runCalls(calls, question->calls.size(), &socket, 1, results_, sizeof results_);
    if (written <= 0) return;
    answered_ = static_cast<size_t>(written);
    __atomic_store_n(&question_, question->id, __ATOMIC_RELEASE);
    return;
  }
}

int BindLook::question(std::string* results) const {
  const int id = __atomic_load_n(&question_, __ATOMIC_ACQUIRE);
  if (id >= 0) results->assign(reinterpret_cast<const char*>(results_), answered_);
  return id;
}

bool BindLook::isAsExpected(const ForeseenBind& bind) {
  count_ = 0;  // an earlier bind of the same address may have had some
  const UniqueFd socket = take();
  if (!socket.valid()) return false;
  const auto* calls = reinterpret_cast<const uint8_t*>(bind.calls.data());
  const long written = runCalls(calls, bind.calls.size(), &socket, 1, results_, sizeof results_);
  constexpr int32_t kAsExpected[] = {1, 0};
  if (written == sizeof kAsExpected && std::memcmp(results_, kAsExpected, sizeof kAsExpected) == 0) return true;
  return written > 0 && mayVary(bind, static_cast<size_t>(written));
}

// What is expected may be older than a change of a sysctl, so what the server seems to have set is compared with a new
// socket.
bool BindLook::mayVary(const ForeseenBind& bind, size_t written) {
  auto usual = BatchResults::expected(reinterpret_cast<const uint8_t*>(bind.calls.data()), bind.calls.size());
  auto now = BatchResults::given(results_, written);
  UniqueFd fresh;
  Varied varied = {0, {}, {}};
  bool isLast = false;
  for (;; varied.index++) {
    isLast = !usual.next(&varied.was);
    if (isLast != !now.next(&varied.is)) return false;
    if (isLast) return count_ > 0;
    if (isSame(varied.was, varied.is)) continue;
    if (count_ == kMostVaried) return false;
    if (!mayVary(bind, varied, &fresh)) return false;
    varied_[count_++] = varied;
  }
}

bool BindLook::mayVary(const ForeseenBind& bind, const Varied& varied, UniqueFd* fresh) const {
  const auto& [index, was, is] = varied;
  bool mayVary = false;
  for (const Variation& variation : bind.variations) {
    if (variation.index != index) continue;
    mayVary = true;
    switch (variation.how) {
      case Variation::kNonblock:
        // No other flag.
        if (is.value != (was.value | O_NONBLOCK)) return false;
        break;
      case Variation::kSet:
      case Variation::kSetHalf:
        if (was.value != 0 || is.value != 0 || !isUsual(bind, variation, was, fresh)) return false;
        break;
      case Variation::kSetSteady:
        if (was.value != 0 || is.value != 0) return false;
        break;
      default:
        break;
    }
  }
  return mayVary;
}

void BindLook::carryAll(int held) const {
  const auto& variations = binds_[static_cast<size_t>(found_)]->variations;
  for (size_t i = 0; i < count_; i++) {
    for (const Variation& variation : variations)
      if (variation.index == varied_[i].index) carry(variation, varied_[i].is, held);
  }
}

// An option that the kernel refuses is left as it was.
void BindLook::carry(const Variation& variation, const CallResult& value, int held) const {
  int32_t word = 0;
  switch (variation.how) {
    case Variation::kSet:
    case Variation::kSetSteady:
      ::setsockopt(held, variation.level, variation.option, value.bytes, static_cast<socklen_t>(value.length));
      break;
    case Variation::kSetHalf:
    case Variation::kForceHalf:
      if (value.length != sizeof word) break;
      std::memcpy(&word, value.bytes, sizeof word);
      word /= 2;
      ::setsockopt(held, variation.level, variation.option, &word, sizeof word);
      break;
    case Variation::kNonblock:
      ::fcntl(held, F_SETFL, ::fcntl(held, F_GETFL) | O_NONBLOCK);
      break;
    default:
      break;
  }
}

}  // namespace berthd
