// Readiness of a descriptor on Node's event loop, by libuv's uv_poll. The descriptor stays its owner's. libuv sets
// O_NONBLOCK, which all have who share the open file: with a third argument true, it is as before when start() returns.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <uv.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

// Lives until libuv has closed the handle, which may be after the JavaScript object is gone.
struct Watch {
  uv_poll_t handle;
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
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->handle),
           [](uv_handle_t* handle) { destroy(static_cast<Watch*>(handle->data)); });
}

void onReady(uv_poll_t* handle, int status, int events) {
  auto* watch = static_cast<Watch*>(handle->data);
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
    keepFlags_ = info[2].IsBoolean() && info[2].As<Napi::Boolean>().Value();
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
      const int flags = keepFlags_ ? fcntl(fd_, F_GETFL) : -1;
      int result = uv_poll_init(loop, &watch_->handle, fd_);
      // Not by F_SETFL: it takes the socket's lock if somebody else has changed O_ASYNC meanwhile.
      int isNonblocking = 0;
      if (flags >= 0 && (flags & O_NONBLOCK) == 0) ioctl(fd_, FIONBIO, &isNonblocking);
      if (result < 0) return Napi::Number::New(info.Env(), result);
      watch_->handle.data = watch_;
      watch_->opened = true;
      if (!referenced_) uv_unref(reinterpret_cast<uv_handle_t*>(&watch_->handle));
      Ref();  // the watch stays until close(), even if nothing refers to this object
    }
    int result = events == 0 ? uv_poll_stop(&watch_->handle) : uv_poll_start(&watch_->handle, events, onReady);
    return Napi::Number::New(info.Env(), result);
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (watch_ != nullptr && watch_->opened) Unref();
    drop();
    return info.Env().Undefined();
  }

  Napi::Value reference(const Napi::CallbackInfo& info) {
    referenced_ = true;
    if (watch_ != nullptr && watch_->opened) uv_ref(reinterpret_cast<uv_handle_t*>(&watch_->handle));
    return info.Env().Undefined();
  }

  Napi::Value unreference(const Napi::CallbackInfo& info) {
    referenced_ = false;
    if (watch_ != nullptr && watch_->opened) uv_unref(reinterpret_cast<uv_handle_t*>(&watch_->handle));
    return info.Env().Undefined();
  }

  void drop() {
    if (watch_ != nullptr) closeWatch(watch_);
  }

  int32_t fd_ = -1;
  bool keepFlags_ = false;
  bool referenced_ = true;
  Watch* watch_ = nullptr;
};

}  // namespace

void exportPoll(Napi::Env env, Napi::Object exports) { exports.Set("Poll", Poll::define(env)); }

}  // namespace berthd
