// Many descriptors watched as one, by an epoll that Node's event loop watches. To watch each by itself takes three times
// as many system calls.
#include <sys/epoll.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value epollCreate(const Napi::CallbackInfo& info) {
  uint32_t flags = 0;
  if (!readArguments(info, &flags)) return info.Env().Undefined();
  return outcome(info, epoll_create1(static_cast<int>(flags | EPOLL_CLOEXEC)));
}

Napi::Value epollAdd(const Napi::CallbackInfo& info) {
  int32_t epoll = 0, fd = 0, key = 0;
  if (!readArguments(info, &epoll, &fd, &key)) return info.Env().Undefined();
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = static_cast<uint32_t>(key);
  return outcome(info, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

Napi::Value epollRemove(const Napi::CallbackInfo& info) {
  int32_t epoll = 0, fd = 0;
  if (!readArguments(info, &epoll, &fd)) return info.Env().Undefined();
  return outcome(info, epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr));
}

Napi::Value epollTake(const Napi::CallbackInfo& info) {
  int32_t epoll = 0;
  Span<int32_t> keys;
  if (!readArguments(info, &epoll, &keys)) return info.Env().Undefined();
  constexpr size_t kMost = 64;
  epoll_event events[kMost];
  const int most = static_cast<int>(keys.length < kMost ? keys.length : kMost);
  const int count = retryOnEintr([&] { return epoll_wait(epoll, events, most, 0); });
  for (int i = 0; i < count; i++) keys.data[i] = static_cast<int32_t>(events[i].data.u64);
  return outcome(info, count);
}

}  // namespace

void exportEpoll(Napi::Env env, Napi::Object exports) {
  exportFunction<epollCreate>(env, exports, "epollCreate");
  exportFunction<epollAdd>(env, exports, "epollAdd");
  exportFunction<epollRemove>(env, exports, "epollRemove");
  exportFunction<epollTake>(env, exports, "epollTake");
}

}  // namespace berthd
