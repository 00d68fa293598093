// Answers the bind(2) calls of one server that seccomp reports (seccomp_unotify(2)). Each server has a thread of its
// own here, because a hostile one can make its supervisor wait: reading its memory blocks on userfaultfd(2), placing a
// descriptor waits until it is scheduled, receiving waits when somebody else received first. What to answer is decided
// in JavaScript, on the event loop; the thread only looks and does.
#include <dirent.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "args.h"
#include "bind-call.h"
#include "fd.h"
#include "topics.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace berthd {
namespace {

constexpr size_t kAddressMax = 128;  // sizeof(struct sockaddr_storage)
constexpr int kContinue = -1;        // let the kernel carry out the call as it stands

// Interrupts a thread that waits in the kernel. The handler does nothing; EINTR is the point.
int WakeSignal() { return SIGRTMIN + 3; }

// What a server asked for. The socket is a duplicate of its own, of the same open file description.
struct Request {
  uint64_t id = 0;
  pid_t thread = 0;
  pid_t process = 0;
  int number = -1;  // the socket's number in the server
  bool cloexec = false;
  UniqueFd socket;
  uint8_t address[kAddressMax] = {};
  int length = 0;
  int error = 0;  // errno of what could not be looked at
};

struct Verdict {
  int value = 0;  // 0 success, an errno, or kContinue
  UniqueFd socket;  // to be put in the place of the server's
};

// A thread may have a table of descriptors of its own, or outlive its process's first one. Linux 6.9; older ones know
// only the first.
int OpenPidfd(pid_t thread, pid_t process) {
  int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, thread, PIDFD_THREAD));
  return pidfd < 0 && errno == EINVAL ? static_cast<int>(::syscall(SYS_pidfd_open, process, 0)) : pidfd;
}

// The number after `key` in a file of /proc, in the given base; -1 where there is none.
long ReadNumber(const char* path, const char* key, int base) {
  UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return -1;
  char text[4096];
  ssize_t size = ::read(file.get(), text, sizeof text - 1);
  if (size <= 0) return -1;
  text[size] = '\0';
  const char* found = std::strstr(text, key);
  return found == nullptr ? -1 : std::strtol(found + std::strlen(key), nullptr, base);
}

// Shared by the thread and the JavaScript object; whoever lives longer frees it.
class Supervisor {
 public:
  Supervisor(int notify, int record, Napi::ThreadSafeFunction tell) : notify_(notify), record_(record), tell_(tell) {
    wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  }

  bool usable() const { return wake_.valid(); }

  void Run() {
    Request left;
    bool going = !Recall(&left) || Serve(std::move(left));
    while (going && Await()) {
      Request request;
      int error = Receive(&request);
      if (error == ENOENT || error == EINTR) continue;  // it was killed before we came
      going = error == 0 && Serve(std::move(request));
    }
    // No process has the filter any more; or we were stopped, and nobody wants to know.
    std::lock_guard<std::mutex> lock(mutex_);
    Tell([](Napi::Env env, Napi::Function callback) {
      if (env != nullptr) callback.Call({env.Null()});
    });
  }

  // Answers one call. Returns false when nobody is there any more to say how.
  bool Serve(Request request) {
    Look(&request);
    if (!IsValid(request.id)) return true;  // it was killed, or a signal took it out of the call
    auto shared = std::make_shared<Request>(std::move(request));
    Verdict verdict;
    bool asked = Ask(shared, &verdict);
    // Whoever takes over is told of later calls only: without a record this one would wait for ever.
    if (!asked && record_.valid()) return false;
    if (!asked) verdict.value = EADDRNOTAVAIL;
    Carry(*shared, &verdict);
    return asked;
  }

  // The event loop's answer to the request it was last told of.
  void Answer(int value, int socket) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      verdict_.value = value;
      verdict_.socket.reset(socket);
      answered_ = true;
    }
    changed_.notify_one();
  }

  // On the JavaScript thread. Idempotent. From here on ours does not touch `tell_`, which dies with the environment.
  void Stop(pthread_t thread) {
    std::lock_guard<std::mutex> ending(ending_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
      stopping_ = true;
      tell_.Release();
    }
    changed_.notify_one();
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
    if (!ended_) ::pthread_kill(thread, WakeSignal());
  }

  void End() {
    std::lock_guard<std::mutex> ending(ending_);
    ended_ = true;
  }

 private:
  // With `mutex_` held.
  template <typename Callback>
  bool Tell(Callback callback) {
    return !stopping_ && tell_.NonBlockingCall(callback) == napi_ok;
  }

  bool Await() {
    pollfd watched[] = {{notify_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    for (;;) {
      int ready = ::poll(watched, 2, -1);
      if (Stopping() || (ready < 0 && errno != EINTR)) return false;
      if (ready <= 0) continue;
      if ((watched[0].revents & POLLIN) != 0) return true;
      if (watched[0].revents != 0) return false;  // POLLHUP: the last process with the filter is gone
    }
  }

  bool Stopping() {
    std::lock_guard<std::mutex> lock(mutex_);
    return stopping_;
  }

  // Returns 0 or errno.
  int Receive(Request* request) {
    // The kernel wants the structure zeroed, and may write a larger one than we know.
    alignas(seccomp_notif) char bytes[512] = {};
    auto* notification = reinterpret_cast<seccomp_notif*>(bytes);
    if (::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_RECV, notification) != 0) return errno;
    // The kernel reports a call once. If we are killed before it is answered, who comes after us finds it here.
    if (record_.valid() && ::pwrite(record_.get(), notification, sizeof *notification, 0) < 0) return errno;
    Understand(*notification, request);
    return 0;
  }

  // The call that one before us has received and not answered, if there is one.
  bool Recall(Request* request) {
    seccomp_notif notification = {};
    if (!record_.valid() || ::pread(record_.get(), &notification, sizeof notification, 0) != sizeof notification)
      return false;
    // Received, but not written down any more: nothing is known of it but its number, which is one of the next.
    constexpr uint64_t kNear = 64;
    for (uint64_t id = notification.id + 1; id <= notification.id + kNear; id++) {
      if (!IsValid(id)) continue;
      seccomp_notif_resp response = {};
      response.id = id;
      response.error = -EADDRNOTAVAIL;
      ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
    if (!IsValid(notification.id)) return false;
    Understand(notification, request);
    return true;
  }

  void Understand(const seccomp_notif& notification, Request* request) {
    request->id = notification.id;
    request->thread = static_cast<pid_t>(notification.pid);
    BindCall call;
    request->error = ReadBindCall(notification, &call);
    request->number = call.fd;
    address_ = call.address;
    request->length = call.length;
  }

  // The server may end, and its pid be another's, at any moment: nothing that was looked at counts until the
  // notification was found valid afterwards (seccomp_unotify(2)).
  void Look(Request* request) {
    if (request->error == 0) request->error = Find(request);
  }

  // Returns what bind(2) itself would find wrong with its arguments, in the order in which it would.
  int Find(Request* request) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/status", request->thread);
    request->process = static_cast<pid_t>(ReadNumber(path, "\nTgid:", 10));
    UniqueFd pidfd(OpenPidfd(request->thread, request->process));
    if (!pidfd.valid()) return errno;
    request->socket.reset(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), request->number, 0)));
    if (!request->socket.valid()) return errno;
    int domain;
    socklen_t size = sizeof domain;
    if (::getsockopt(request->socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return errno;
    if (request->length < 0 || static_cast<size_t>(request->length) > kAddressMax) return EINVAL;
    if (!ReadMemory(request->thread, address_, request->address, static_cast<size_t>(request->length))) return EFAULT;
    request->cloexec = IsCloexec(request->thread, request->number);
    return 0;
  }

  static bool IsCloexec(pid_t thread, int number) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", thread, number);
    long flags = ReadNumber(path, "flags:", 8);
    return flags >= 0 && (flags & O_CLOEXEC) != 0;
  }

  bool IsValid(uint64_t id) { return ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

  bool Ask(const std::shared_ptr<Request>& request, Verdict* verdict) {
    std::unique_lock<std::mutex> lock(mutex_);
    answered_ = false;
    bool told = Tell([request](Napi::Env env, Napi::Function callback) {
      if (env != nullptr) callback.Call({Describe(env, *request)});
    });
    if (!told) return false;
    changed_.wait(lock, [this] { return answered_ || stopping_; });
    if (!answered_) return false;
    *verdict = std::move(verdict_);
    return true;
  }

  static Napi::Object Describe(Napi::Env env, Request& request) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("pid", Napi::Number::New(env, request.process));
    object.Set("thread", Napi::Number::New(env, request.thread));
    object.Set("fd", Napi::Number::New(env, request.number));
    object.Set("error", Napi::Number::New(env, request.error));
    // Borrowed: the thread keeps it, for its other numbers in the server are found by it.
    object.Set("socket", Napi::Number::New(env, request.socket.get()));
    object.Set("sockaddr", Napi::Buffer<uint8_t>::Copy(env, request.address, request.error == 0 ? static_cast<size_t>(request.length) : 0));
    return object;
  }

  void Carry(const Request& request, Verdict* verdict) {
    int value = verdict->value;
    if (value == 0 && verdict->socket.valid()) value = Replace(request, verdict->socket.get());
    seccomp_notif_resp response = {};
    response.id = request.id;
    if (value == kContinue) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else response.error = -value;
    ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);  // ENOENT: it no longer waits
  }

  // Puts `held` where the server's socket is, at every number the server has for it.
  int Replace(const Request& request, int held) {
    int error = PlaceAt(request.id, held, request.number, request.cloexec);
    struct stat own;
    if (error != 0 || ::fstat(request.socket.get(), &own) != 0) return error;
    char link[64];
    std::snprintf(link, sizeof link, "socket:[%llu]", static_cast<unsigned long long>(own.st_ino));
    char folder[64];
    std::snprintf(folder, sizeof folder, "/proc/%d/fd", request.thread);
    DIR* directory = ::opendir(folder);
    if (directory == nullptr) return 0;
    while (dirent* entry = ::readdir(directory)) {
      char target[64];
      ssize_t size = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target - 1);
      if (size <= 0) continue;
      target[size] = '\0';
      if (std::strcmp(target, link) != 0) continue;
      int number = std::atoi(entry->d_name);
      PlaceAt(request.id, held, number, IsCloexec(request.thread, number));
    }
    ::closedir(directory);
    return 0;
  }

  int PlaceAt(uint64_t id, int held, int number, bool cloexec) {
    seccomp_notif_addfd place = {};
    place.id = id;
    place.flags = SECCOMP_ADDFD_FLAG_SETFD;
    place.srcfd = static_cast<uint32_t>(held);
    place.newfd = static_cast<uint32_t>(number);
    place.newfd_flags = cloexec ? O_CLOEXEC : 0;
    return RetryOnEintr([&] { return Stopping() ? 0 : ::ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &place); }) < 0
               ? errno
               : 0;
  }

  UniqueFd notify_;
  UniqueFd record_;  // of the call that is being answered; -1: none is kept
  UniqueFd wake_;
  Napi::ThreadSafeFunction tell_;
  uint64_t address_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool answered_ = false;
  bool stopping_ = false;
  Verdict verdict_;
  std::mutex ending_;  // a thread that has ended cannot be signalled
  bool ended_ = false;
};

class Interceptor : public Napi::ObjectWrap<Interceptor> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Interceptor",
                       {InstanceMethod<&Interceptor::Start>("start"), InstanceMethod<&Interceptor::Answer>("answer"),
                        InstanceMethod<&Interceptor::Close>("close")});
  }

  // Takes ownership of both descriptors.
  explicit Interceptor(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Interceptor>(info) {
    int32_t notify, record;
    if (!Read(info, 0, &notify)) return;
    if (!info[1].IsFunction()) {
      Refuse(info, 1, "a function");
      return;
    }
    if (!Read(info, 2, &record)) return;
    notify_.reset(notify);
    record_.reset(record);
    callback_ = Napi::Persistent(info[1].As<Napi::Function>());
  }

  ~Interceptor() override { Stop(); }

 private:
  using Shared = std::shared_ptr<Supervisor>;

  Napi::Value Start(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (!notify_.valid()) return Napi::Number::New(env, -EBADF);
    struct sigaction nothing = {};
    nothing.sa_handler = [](int) {};
    ::sigaction(WakeSignal(), &nothing, nullptr);
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
    int error = supervisor->usable() ? ::pthread_create(&thread_, &attributes, Main, argument) : EMFILE;
    ::pthread_attr_destroy(&attributes);
    if (error != 0) {
      delete argument;
      tell.Release();
      return Napi::Number::New(env, -error);
    }
    supervisor_ = supervisor;
    // An environment that ends without close(): this hook runs before that of `tell`, which was added earlier.
    ::napi_add_env_cleanup_hook(env, OnEnvironmentEnd, this);
    return Napi::Number::New(env, 0);
  }

  static void OnEnvironmentEnd(void* self) {
    auto* interceptor = static_cast<Interceptor*>(self);
    interceptor->supervisor_->Stop(interceptor->thread_);
  }

  static void* Main(void* argument) {
    std::unique_ptr<Shared> supervisor(static_cast<Shared*>(argument));
    (*supervisor)->Run();
    (*supervisor)->End();
    return nullptr;
  }

  Napi::Value Answer(const Napi::CallbackInfo& info) {
    int32_t value, socket;
    if (!Arguments(info, &value, &socket)) return info.Env().Undefined();
    UniqueFd owned(socket);
    if (supervisor_ != nullptr) supervisor_->Answer(value, owned.release());
    return info.Env().Undefined();
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    Stop();
    return info.Env().Undefined();
  }

  void Stop() {
    notify_.reset();
    record_.reset();
    Shared supervisor = std::move(supervisor_);
    if (supervisor == nullptr) return;
    ::napi_remove_env_cleanup_hook(Env(), OnEnvironmentEnd, this);
    supervisor->Stop(thread_);
  }

  UniqueFd notify_;
  UniqueFd record_;
  Napi::FunctionReference callback_;
  Shared supervisor_;
  pthread_t thread_ = 0;
};

}  // namespace

void ExportSeccomp(Napi::Env env, Napi::Object exports) { exports.Set("Interceptor", Interceptor::Define(env)); }

}  // namespace berthd
