// `Interceptor`, the JavaScript object that answers the bind(2) calls of one server which seccomp reports
// (seccomp_unotify(2)): starts its supervisor's thread, hands over the answers, and stops it. It sees no call itself.
#include <errno.h>
#include <pthread.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "addon/args.h"
#include "common/fd.h"
#include "supervisor.h"
#include "addon/exports.h"

namespace berthd {
namespace {

class Interceptor : public Napi::ObjectWrap<Interceptor> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Interceptor",
                       {InstanceMethod<&Interceptor::start>("start"), InstanceMethod<&Interceptor::answer>("answer"),
                        InstanceMethod<&Interceptor::foresee>("foresee"),
                        InstanceMethod<&Interceptor::inquire>("inquire"),
                        InstanceMethod<&Interceptor::forget>("forget"),
                        InstanceMethod<&Interceptor::delivered>("delivered"),
                        InstanceMethod<&Interceptor::changing>("changing"),
                        InstanceMethod<&Interceptor::spent>("spent"),
                        InstanceMethod<&Interceptor::close>("close"), InstanceMethod<&Interceptor::ended>("ended")});
  }

  // Takes ownership of both descriptors.
  explicit Interceptor(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Interceptor>(info) {
    int32_t notify, record;
    if (!readArgument(info, 0, &notify)) return;
    if (!info[1].IsFunction()) {
      refuse(info, 1, "a function");
      return;
    }
    if (!readArgument(info, 2, &record)) return;
    notify_.reset(notify);
    record_.reset(record);
    callback_ = Napi::Persistent(info[1].As<Napi::Function>());
  }

  ~Interceptor() override { stop(); }

 private:
  using Shared = std::shared_ptr<Supervisor>;

  Napi::Value start(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (!notify_.valid()) return Napi::Number::New(env, -EBADF);
    Supervisor::prepareSignal();
    auto tell = Napi::ThreadSafeFunction::New(env, callback_.Value(), "berthd bind", 0, 1);
    // The broker must be able to end while servers run.
    tell.Unref(env);
    Shared supervisor = std::make_shared<Supervisor>(notify_.release(), record_.release(), tell);
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, 256 * 1024);
    // Never joined: a hostile server may keep it waiting, and the event loop does not wait with it.
    ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    auto* argument = new Shared(supervisor);
    int error = supervisor->error();
    if (error == 0) error = ::pthread_create(&thread_, &attributes, runThread, argument);
    ::pthread_attr_destroy(&attributes);
    if (error != 0) {
      delete argument;
      tell.Release();
      return Napi::Number::New(env, -error);
    }
    supervisor_ = supervisor;
    running_ = supervisor;
    // An environment that ends without close(): this hook runs before that of `tell`, which was added earlier.
    ::napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
    return Napi::Number::New(env, 0);
  }

  static void onEnvironmentEnd(void* self) {
    auto* interceptor = static_cast<Interceptor*>(self);
    interceptor->supervisor_->stop(interceptor->thread_);
  }

  static void* runThread(void* argument) {
    std::unique_ptr<Shared> supervisor(static_cast<Shared*>(argument));
    (*supervisor)->work();
    return nullptr;
  }

  Napi::Value answer(const Napi::CallbackInfo& info) {
    int32_t value, socket;
    if (!readArguments(info, &value, &socket)) return info.Env().Undefined();
    const bool forgets = info[2].IsBoolean() && info[2].As<Napi::Boolean>().Value();
    UniqueFd owned(socket);
    // Also after close: the thread waits on for what must not be lost.
    if (Shared supervisor = running_.lock()) supervisor->answer(value, owned.release(), forgets);
    return info.Env().Undefined();
  }

  Napi::Value foresee(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    int32_t id = 0, held = -1, domain = 0, type = 0, againMs = 0, times = 0;
    Span<uint8_t> address, calls;
    Span<int32_t> variations;
    int64_t network = 0;
    if (!readArguments(info, &id, &held, &address, &network, &calls, &domain, &type, &variations, &againMs,
                       &times))
      return env.Undefined();
    Shared supervisor = running_.lock();
    if (supervisor == nullptr) return env.Undefined();
    ForeseenBind bind;
    bind.id = id;
    bind.held = held;
    bind.address.assign(reinterpret_cast<const char*>(address.data), address.length);
    bind.network = static_cast<uint64_t>(network);
    bind.againUntil = againMs;
    bind.calls.assign(reinterpret_cast<const char*>(calls.data), calls.length);
    bind.domain = domain;
    bind.type = type;
    for (size_t at = 0; at + 4 <= variations.length; at += 4) {
      const int32_t* const words = variations.data + at;
      bind.variations.push_back({words[0], words[1], words[2], words[3]});
    }
    supervisor->foresight().foresee(std::move(bind), times);
    return env.Undefined();
  }

  Napi::Value inquire(const Napi::CallbackInfo& info) {
    StateQuestion question;
    Span<uint8_t> calls;
    if (!readArguments(info, &question.id, &question.domain, &question.type, &calls)) return info.Env().Undefined();
    question.calls.assign(reinterpret_cast<const char*>(calls.data), calls.length);
    if (Shared supervisor = running_.lock()) supervisor->inquire(std::move(question));
    return info.Env().Undefined();
  }

  Napi::Value forget(const Napi::CallbackInfo& info) {
    if (Shared supervisor = running_.lock()) supervisor->foresight().forget();
    return info.Env().Undefined();
  }

  Napi::Value delivered(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    const Shared supervisor = running_.lock();
    const auto binds =
        supervisor == nullptr ? std::vector<Foresight::Delivered>() : supervisor->foresight().delivered();
    std::vector<int32_t> all;
    for (const auto& bind : binds) {
      const auto count = static_cast<int32_t>(bind.varied.size());
      all.insert(all.end(), {bind.id, bind.process, bind.thread, bind.number, count});
      all.insert(all.end(), bind.varied.begin(), bind.varied.end());
    }
    Napi::Int32Array numbers = Napi::Int32Array::New(env, all.size());
    std::copy(all.begin(), all.end(), numbers.Data());
    return numbers;
  }

  Napi::Value changing(const Napi::CallbackInfo& info) {
    const Shared supervisor = running_.lock();
    return Napi::Boolean::New(info.Env(), supervisor != nullptr && supervisor->foresight().changing());
  }

  Napi::Value spent(const Napi::CallbackInfo& info) {
    const Shared supervisor = running_.lock();
    auto sockets = supervisor == nullptr ? std::vector<Supervisor::Spent>() : supervisor->spent();
    Napi::Int32Array numbers = Napi::Int32Array::New(info.Env(), 2 * sockets.size());
    for (size_t i = 0; i < sockets.size(); i++) {
      numbers[2 * i] = sockets[i].process;
      numbers[2 * i + 1] = sockets[i].socket.release();
    }
    return numbers;
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    stop();
    return info.Env().Undefined();
  }

  // The thread has the last share in the supervisor once ours is given up.
  Napi::Value ended(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), running_.expired()); }

  void stop() {
    notify_.reset();
    record_.reset();
    Shared supervisor = std::move(supervisor_);
    if (supervisor == nullptr) return;
    ::napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
    supervisor->stop(thread_);
  }

  UniqueFd notify_;
  UniqueFd record_;
  Napi::FunctionReference callback_;
  Shared supervisor_;
  std::weak_ptr<Supervisor> running_;
  pthread_t thread_ = 0;
};

}  // namespace

void exportSeccomp(Napi::Env env, Napi::Object exports) { exports.Set("Interceptor", Interceptor::define(env)); }

}  // namespace berthd
