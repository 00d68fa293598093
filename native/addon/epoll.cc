// An epoll of many files, epoll(7). It is never one of the event loop's: poll-thread.h watches it, and says why.
#include <sys/epoll.h>

#include <algorithm>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

constexpr size_t kMost = 64;

Napi::Value epollCreate(const Napi::CallbackInfo& info) {
  int32_t flags;
  if (!readArguments(info, &flags)) return info.Env().Undefined();
  return outcome(info, ::epoll_create1(flags | EPOLL_CLOEXEC));
}

Napi::Value epollControl(const Napi::CallbackInfo& info) {
  int32_t epoll, operation, fd;
  uint32_t events, id;
  if (!readArguments(info, &epoll, &operation, &fd, &events, &id)) return info.Env().Undefined();
  epoll_event event{};
  event.events = events;
  event.data.u32 = id;
  return outcome(info, ::epoll_ctl(epoll, operation, fd, &event));
}

Napi::Value epollReady(const Napi::CallbackInfo& info) {
  int32_t epoll;
  Span<uint32_t> ids;
  if (!readArguments(info, &epoll, &ids)) return info.Env().Undefined();
  epoll_event ready[kMost];
  const int count = ::epoll_wait(epoll, ready, static_cast<int>(std::min(ids.length, kMost)), 0);
  for (int i = 0; i < count; i++) ids.data[i] = ready[i].data.u32;
  return outcome(info, count);
}

}  // namespace

void exportEpoll(Napi::Env env, Napi::Object exports) {
  exportFunction<epollCreate>(env, exports, "epollCreate");
  exportFunction<epollControl>(env, exports, "epollControl");
  exportFunction<epollReady>(env, exports, "epollReady");
}

}  // namespace berthd
