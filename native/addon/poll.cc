// Readiness of a descriptor on Node's event loop. The descriptor stays its owner's. It is watched by libuv's uv_poll,
// or, with a third argument true, as an open file that others share: see poll-thread.h.
#include <uv.h>

#include <optional>

#include "args.h"
#include "exports.h"
#include "poll-thread.h"

namespace berthd {
namespace {

// Lives until libuv has closed the handle, which may be after the JavaScript object is gone.
struct Watch {
  uv_poll_t handle;
  uv_timer_t end;  // of a shared one: closed after the thread's own handle
  std::optional<SharedWatch> shared;
  napi_env env;
  Napi::FunctionReference callback;
  napi_async_cleanup_hook_handle hook = nullptr;
  Watch** owner = nullptr;  // the pointer in the JavaScript object; cleared when the watch ends first
  bool opened = false;
  bool closed = false;
};

void destroy(Watch* watch) {
  if (watch->hook != nullptr) napi_remove_async_cleanup_hook(watch->hook);
  delete watch;
}

// Ends the watch for its owner. libuv frees the memory later.
void closeWatch(Watch* watch) {
  if (watch->closed) return;
  watch->closed = true;
  *watch->owner = nullptr;
  watch->callback.Reset();
  if (!watch->opened) return destroy(watch);
  const bool isShared = watch->shared.has_value();
  if (isShared) watch->shared->stop();
  uv_close(isShared ? reinterpret_cast<uv_handle_t*>(&watch->end) : reinterpret_cast<uv_handle_t*>(&watch->handle),
           [](uv_handle_t* handle) { destroy(static_cast<Watch*>(handle->data)); });
}

void onReady(void* argument, int status, int events) {
  auto* watch = static_cast<Watch*>(argument);
  Napi::Env env(watch->env);
  Napi::HandleScope scope(env);
  Napi::Function callback = watch->callback.Value();
  napi_value arguments[] = {Napi::Number::New(env, status), Napi::Number::New(env, events)}, result;
  if (napi_make_callback(env, nullptr, callback, callback, 2, arguments, &result) != napi_pending_exception) return;
  // No JavaScript frame is below us that could catch it: make it an uncaughtException, as Node's own callbacks do.
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

class Poll : public Napi::ObjectWrap<Poll> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Poll",
                       {InstanceMethod<&Poll::start>("start"), InstanceMethod<&Poll::close>("close"),
                        InstanceMethod<&Poll::reference>("ref"), InstanceMethod<&Poll::unreference>("unref")});
  }

  explicit Poll(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Poll>(info) {
    if (!readArgument(info, 0, &fd_)) return;
    if (!info[1].IsFunction()) {
      refuse(info, 1, "a function");
      return;
    }
    isShared_ = info[2].IsBoolean() && info[2].As<Napi::Boolean>().Value();
    watch_ = new Watch();
    watch_->owner = &watch_;
    watch_->env = info.Env();
    watch_->callback = Napi::Persistent(info[1].As<Napi::Function>());
    // A worker thread may end with watches open: close them while its loop still runs.
    napi_add_async_cleanup_hook(
        info.Env(), [](napi_async_cleanup_hook_handle, void* data) { closeWatch(static_cast<Watch*>(data)); }, watch_,
        &watch_->hook);
  }

  ~Poll() override { drop(); }

 private:
  Napi::Value start(const Napi::CallbackInfo& info) {
    int32_t events;
    if (!readArguments(info, &events)) return info.Env().Undefined();
    if (watch_ == nullptr) return Napi::Number::New(info.Env(), -EBADF);
    if (!watch_->opened) {
      uv_loop_t* loop;
      napi_get_uv_event_loop(info.Env(), &loop);
      const int result = isShared_ ? openShared(loop) : open(loop);
      if (result < 0) return Napi::Number::New(info.Env(), result);
      watch_->opened = true;
      keepAlive();
      Ref();  // the watch stays until close(), even if nothing refers to this object
    }
    return Napi::Number::New(info.Env(), isShared_ ? watch_->shared->start(events) : startOwn(events));
  }

  int open(uv_loop_t* loop) {
    const int result = uv_poll_init(loop, &watch_->handle, fd_);
    watch_->handle.data = watch_;
    return result;
  }

  int openShared(uv_loop_t* loop) {
    const int result = uv_timer_init(loop, &watch_->end);
    watch_->end.data = watch_;
    if (result == 0) watch_->shared.emplace(loop, fd_, onReady, watch_);
    return result;
  }

  int startOwn(int events) {
    if (events == 0) return uv_poll_stop(&watch_->handle);
    return uv_poll_start(&watch_->handle, events, [](uv_poll_t* handle, int status, int ready) {
      onReady(handle->data, status, ready);
    });
  }

  void keepAlive() {
    if (watch_ == nullptr || !watch_->opened) return;
    if (isShared_) return watch_->shared->keepAlive(referenced_);
    auto* const handle = reinterpret_cast<uv_handle_t*>(&watch_->handle);
    if (referenced_) uv_ref(handle);
    else uv_unref(handle);
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (watch_ != nullptr && watch_->opened) Unref();
    drop();
    return info.Env().Undefined();
  }

  Napi::Value reference(const Napi::CallbackInfo& info) {
    referenced_ = true;
    keepAlive();
    return info.Env().Undefined();
  }

  Napi::Value unreference(const Napi::CallbackInfo& info) {
    referenced_ = false;
    keepAlive();
    return info.Env().Undefined();
  }

  void drop() {
    if (watch_ != nullptr) closeWatch(watch_);
  }

  int32_t fd_ = -1;
  bool isShared_ = false;
  bool referenced_ = true;
  Watch* watch_ = nullptr;
};

}  // namespace

void exportPoll(Napi::Env env, Napi::Object exports) { exports.Set("Poll", Poll::define(env)); }

}  // namespace berthd
