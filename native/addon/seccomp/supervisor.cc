// The supervisor's way through one call: receive, look, ask, carry out.
#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace berthd {
namespace {

constexpr int kStopped = -2;  // we were stopped before the socket was placed

int wakeSignal() { return SIGRTMIN + 3; }

Napi::Object describe(Napi::Env env, const BindReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", Napi::Number::New(env, report.process));
  object.Set("thread", Napi::Number::New(env, report.thread));
  object.Set("fd", Napi::Number::New(env, report.number));
  object.Set("error", Napi::Number::New(env, report.error));
  object.Set("recalled", Napi::Boolean::New(env, report.recalled));
  // Borrowed: the thread keeps it, for its other numbers in the server are found by it.
  object.Set("socket", Napi::Number::New(env, report.socket.get()));
  const size_t length = report.error == 0 ? static_cast<size_t>(report.length) : 0;
  object.Set("stray", Napi::Number::New(env, report.stray));
  object.Set("sockaddr", Napi::Buffer<uint8_t>::Copy(env, report.address, length));
  return object;
}

}  // namespace

Supervisor::Supervisor(int notify, int record, Napi::ThreadSafeFunction tell)
    : listener_(notify, record), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), tell_(tell) {}

void Supervisor::prepareSignal() {
  struct sigaction nothing = {};
  nothing.sa_handler = [](int) {};
  ::sigaction(wakeSignal(), &nothing, nullptr);
}

void Supervisor::work() {
  run();
  std::lock_guard<std::mutex> ending(ending_);
  ended_ = true;
}

void Supervisor::run() {
  seccomp_notif notification = {};
  bool going = !listener_.recall(&notification) || serve(notification, true);
  while (going && await()) {
    int error = listener_.receive(&notification);
    if (error == ENOENT || error == EINTR) continue;  // it was killed before we came
    going = error == 0 && serve(notification, false);
  }
  // No process has the filter any more, or we were stopped and no one waits for this.
  std::lock_guard<std::mutex> lock(mutex_);
  tell([](Napi::Env env, Napi::Function callback) {
    if (env != nullptr) callback.Call({env.Null()});
  });
}

// Answers one call. Returns false when nobody is there any more to say how.
bool Supervisor::serve(const seccomp_notif& notification, bool recalled) {
  auto report = std::make_shared<BindReport>(lookAtBind(notification, memory_));
  report->recalled = recalled;
  if (!listener_.isValid(report->id)) return true;
  Verdict verdict;
  bool asked = ask(report, &verdict);
  // The next broker receives only later calls: without a record this call would wait for ever.
  if (!asked && listener_.recorded()) return false;
  if (!asked) verdict.value = EADDRNOTAVAIL;
  carry(*report, verdict);
  return asked;
}

void Supervisor::answer(int value, int socket) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    verdict_.value = value;
    verdict_.socket.reset(socket);
    answered_ = true;
  }
  changed_.notify_one();
}

void Supervisor::stop(pthread_t thread) {
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
  if (!ended_) ::pthread_kill(thread, wakeSignal());
}

bool Supervisor::await() {
  pollfd watched[] = {{listener_.notify(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  for (;;) {
    int ready = ::poll(watched, 2, -1);
    if (stopping() || (ready < 0 && errno != EINTR)) return false;
    if (ready <= 0) continue;
    if ((watched[0].revents & POLLIN) != 0) return true;
    if (watched[0].revents != 0) return false;  // POLLHUP: the last process with the filter is gone
  }
}

bool Supervisor::stopping() {
  std::lock_guard<std::mutex> lock(mutex_);
  return stopping_;
}

bool Supervisor::ask(const std::shared_ptr<BindReport>& report, Verdict* verdict) {
  std::unique_lock<std::mutex> lock(mutex_);
  answered_ = false;
  bool told = tell([report](Napi::Env env, Napi::Function callback) {
    if (env != nullptr) callback.Call({describe(env, *report)});
  });
  if (!told) return false;
  changed_.wait(lock, [this] { return answered_ || stopping_; });
  if (!answered_) return false;
  *verdict = std::move(verdict_);
  return true;
}

void Supervisor::carry(const BindReport& report, const Verdict& verdict) {
  int value = verdict.value;
  if (value == 0 && verdict.socket.valid()) value = replace(report, verdict.socket.get());
  if (value == kStopped && listener_.recorded()) return;  // the next reader finds the call in the record
  listener_.answer(report.id, value == kStopped ? EADDRNOTAVAIL : value);
}

// Puts `held` where the server's socket is, at every number the server has for it. The one it named comes last: once
// that is another, nobody finds its own any more, and the next reader must see that the call was carried out.
int Supervisor::replace(const BindReport& report, int held) {
  replaceOthers(report, held);
  return placeAt(report.id, held, report.number, report.cloexec);
}

void Supervisor::replaceOthers(const BindReport& report, int held) {
  struct stat own;
  if (::fstat(report.socket.get(), &own) != 0) return;
  char link[64];
  std::snprintf(link, sizeof link, "socket:[%llu]", static_cast<unsigned long long>(own.st_ino));
  char folder[64];
  std::snprintf(folder, sizeof folder, "/proc/%d/fd", report.thread);
  DIR* directory = ::opendir(folder);
  if (directory == nullptr) return;
  while (dirent* entry = ::readdir(directory)) {
    char target[64];
    ssize_t size = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target - 1);
    if (size <= 0) continue;
    target[size] = '\0';
    if (std::strcmp(target, link) != 0) continue;
    int number = std::atoi(entry->d_name);
    if (number != report.number) placeAt(report.id, held, number, isCloexec(report.thread, number));
  }
  ::closedir(directory);
}

// Returns 0, errno, or kStopped: a signal means that we may have to stop.
int Supervisor::placeAt(uint64_t id, int held, int number, bool cloexec) {
  int error = EINTR;
  while (error == EINTR && !stopping()) error = listener_.place(id, held, number, cloexec);
  return error == EINTR ? kStopped : error;
}

}  // namespace berthd
