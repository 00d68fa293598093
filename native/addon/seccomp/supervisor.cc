// The supervisor's way through one call: receive, look, ask, carry out.
#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "describe.h"

namespace berthd {
namespace {

// How long the process that reads stays for the next bind.
constexpr int kIdleMs = 5000;

// JavaScript is told of an answer so much later, so that the server goes on first. With this timer slack, poll(2) sets
// no timer for such a short wait. To set one took 14 µs of each answer (docs/performance.md).
constexpr int kUntoldMs = 1;
constexpr unsigned long kSlackNs = 5000000;

constexpr int kStopped = -2;  // we were stopped before the socket was placed

// How long the thread waits for an answer that must not be lost, even when it was told to stop.
constexpr auto kPatience = std::chrono::seconds(5);

int wakeSignal() { return SIGRTMIN + 3; }

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
  memory_.rest();
  std::lock_guard<std::mutex> ending(ending_);
  ended_ = true;
}

void Supervisor::run() {
  seccomp_notif notification = {};
  ::prctl(PR_SET_TIMERSLACK, kSlackNs, 0, 0, 0);
  memory_.begin();
  bool going = !listener_.recall(&notification) || serve(notification, true);
  while (going && await()) {
    int error = listener_.receive(&notification);
    if (error == ENOENT || error == EINTR) continue;  // it was killed before we came
    going = error == 0 && serve(notification, false);
  }
  // No process has the filter any more, or we were stopped and no one waits for this.
  std::unique_lock<std::mutex> lock(mutex_);
  const bool told = tell([](Napi::Env env, Napi::Function callback) {
    if (env != nullptr) callback.Call({env.Null()});
  });
  std::vector<Spent> left;
  if (!told) left = std::exchange(spent_, {});
  lock.unlock();  // `left` is closed after this, which may wait
}

// Answers one call. Returns false when nobody is there any more to say how.
bool Supervisor::serve(const seccomp_notif& notification, bool recalled) {
  // What an earlier broker received may have been carried out.
  const ForeseenBinds binds = recalled ? ForeseenBinds() : foresight_.all();
  auto report = std::make_shared<BindReport>(lookAtBind(notification, memory_, binds, questions()));
  report->recalled = recalled;
  if (!listener_.isValid(report->id)) return true;
  Verdict verdict;
  if (isForeseen(*report, &verdict)) {
    carryOver(*report, &verdict);
    carry(report, verdict);
    isUntold_ = true;
    if (verdict.value != 0) tellDone(true);
    return true;
  }
  bool asked = ask(report, &verdict);
  // The next broker receives only later calls: without a record this call would wait for ever.
  if (!asked && listener_.recorded()) return false;
  if (!asked) verdict.value = EADDRNOTAVAIL;
  carry(report, verdict);
  return asked;
}

void Supervisor::answer(int value, int socket, bool forgets) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    verdict_.value = value;
    verdict_.socket.reset(socket);
    verdict_.forgets = forgets;
    answered_ = true;
  }
  changed_.notify_one();
}

void Supervisor::inquire(StateQuestion question) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto isFormer = [&question](const auto& other) {
    return other->domain == question.domain && other->type == question.type;
  };
  questions_.erase(std::remove_if(questions_.begin(), questions_.end(), isFormer), questions_.end());
  questions_.push_back(std::make_shared<const StateQuestion>(std::move(question)));
}

std::vector<Supervisor::Spent> Supervisor::spent() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(spent_, {});
}

StateQuestions Supervisor::questions() {
  std::lock_guard<std::mutex> lock(mutex_);
  return questions_;
}

// Whether the answer is known, and still counts.
bool Supervisor::isForeseen(const BindReport& report, Verdict* verdict) {
  if (report.foreseen == nullptr || report.error != 0) return false;
  const ForeseenBind& bind = *report.foreseen;
  if (bind.network != 0 && report.network != bind.network) return false;
  if (report.look->carries() && !memory_.mayGive()) return false;
  const bool isAgain = bind.againUntil != 0;
  if (isAgain) {
    verdict->numbers = numbersOf(report, bind.held);
    // The event loop counts what epolls cost it.
    if (verdict->numbers->hasHeld || !verdict->numbers->epolls.empty()) return false;
  }
  verdict->forgets = isAgain;
  verdict->socket = foresight_.deliver(report);
  return verdict->socket.valid();
}

// Sets on the held socket what the server has set on its own. A process that had the held socket before may hold it up.
void Supervisor::carryOver(const BindReport& report, Verdict* verdict) {
  if (!report.look->carries()) return;
  const int error = memory_.give(verdict->socket.get(), BindLook::carryOver(report.look));
  if (error != 0) *verdict = {ETIMEDOUT, UniqueFd(), false, std::nullopt};
  verdict->numbers.reset();  // that took some time
  foresight_.changed();
}

void Supervisor::tellDone(bool isStuck) {
  isUntold_ = false;
  std::lock_guard<std::mutex> lock(mutex_);
  tell([isStuck](Napi::Env env, Napi::Function callback) {
    if (env == nullptr) return;
    Napi::Object told = Napi::Object::New(env);
    told.Set("isStuck", Napi::Boolean::New(env, isStuck));
    callback.Call({told});
  });
}

void Supervisor::stop(pthread_t thread) {
  std::lock_guard<std::mutex> ending(ending_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    tell_.Release();
  }
  foresight_.forget();
  changed_.notify_one();
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
  if (!ended_) ::pthread_kill(thread, wakeSignal());
}

bool Supervisor::await() {
  pollfd watched[] = {{listener_.notify(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  for (;;) {
    int ready = ::poll(watched, 2, isUntold_ ? kUntoldMs : memory_.isThere() ? kIdleMs : -1);
    if (stopping() || (ready < 0 && errno != EINTR)) return false;
    if (ready == 0 && isUntold_) tellDone(false);
    else if (ready == 0) memory_.rest();
    if (ready <= 0) continue;
    if ((watched[0].revents & POLLIN) != 0) return true;
    if (watched[0].revents != 0) return false;  // POLLHUP: the last process with the filter is gone
  }
}

bool Supervisor::stopping() {
  std::lock_guard<std::mutex> lock(mutex_);
  return stopping_;
}

bool Supervisor::ask(const Report& report, Verdict* verdict) {
  std::unique_lock<std::mutex> lock(mutex_);
  answered_ = false;
  bool told = tell([report](Napi::Env env, Napi::Function callback) {
    if (env != nullptr) callback.Call({describe(env, *report)});
  });
  if (!told) return false;
  isUntold_ = false;
  changed_.wait(lock, [this] { return answered_ || stopping_; });
  if (!answered_) return false;
  *verdict = std::move(verdict_);
  return true;
}

void Supervisor::carry(const Report& report, const Verdict& verdict) {
  int value = verdict.value;
  if (value == 0 && verdict.socket.valid()) value = replace(report, verdict);
  if (value == kStopped && listener_.recorded()) return;  // the next reader finds the call in the record
  // A socket that the server keeps is closed here before it can be missed: the server may want to close it, too.
  const bool isReplaced = value == 0 && verdict.socket.valid();
  if (!isReplaced && hasSocket(*report)) report->socket.reset();
  listener_.answer(report->id, value == kStopped ? EADDRNOTAVAIL : value);
  giveAway(report);
}

// Puts the held socket where the server's is, at every number that the server has for it and in its epolls.
int Supervisor::replace(const Report& report, const Verdict& verdict) {
  const int held = verdict.socket.get();
  const Numbers numbers = verdict.numbers ? *verdict.numbers : numbersOf(*report, held);
  int value = verdict.forgets ? askOfEpolls(report, numbers, held, false) : 0;
  if (value == 0) value = place(*report, numbers, held);
  // What the server registers under its number before this is carried over, and after it is the held socket's already.
  return value == 0 ? askOfEpolls(report, numbers, held, true) : value;
}

// The number that the server named comes last: once that is another socket, nobody finds its own any more, and the next
// reader must see that the call was carried out.
int Supervisor::place(const BindReport& report, const Numbers& numbers, int held) {
  int error = 0;
  for (int number : numbers.own) {
    const bool isNamed = number == report.number;
    error = placeAt(report.id, held, number, isNamed ? report.cloexec : isCloexec(report.thread, number));
  }
  return error;
}

// Some at a time, for each takes two descriptors. Returns 0, errno, or kStopped.
int Supervisor::askOfEpolls(const Report& report, const Numbers& numbers, int held, bool isPlaced) {
  int value = 0;
  for (size_t at = 0; at < numbers.epolls.size() && value == 0; at += kEpollsAtOnce) {
    do {
      auto some = std::make_shared<EpollReport>(takeEpolls(*report, numbers, at));
      some->held = held;
      some->isPlaced = isPlaced;
      // The server may have ended, and another process have its pid.
      if (!listener_.isValid(report->id)) return ESRCH;
      value = askOfSome(report, some);
    } while (value == EAGAIN);
  }
  return value;
}

int Supervisor::askOfSome(const Report& report, std::shared_ptr<EpollReport> epolls) {
  std::unique_lock<std::mutex> lock(mutex_);
  answered_ = false;
  const bool told = tell([report, epolls](Napi::Env env, Napi::Function callback) {
    if (env != nullptr) callback.Call({describe(env, *report, *epolls)});
  });
  if (!told) return epolls->isPlaced ? 0 : kStopped;
  changed_.wait_for(lock, kPatience, [&] { return answered_ || (stopping_ && !epolls->isPlaced); });
  if (answered_) return verdict_.value;
  return epolls->isPlaced ? 0 : kStopped;
}

// To close the server's own socket for the last time may wait for ever: for the mutex of an epoll that has it.
void Supervisor::giveAway(const Report& report) {
  if (!report->socket.valid()) return;
  isUntold_ = true;
  std::lock_guard<std::mutex> lock(mutex_);
  spent_.push_back({report->process, std::move(report->socket)});
}

// Returns 0, errno, or kStopped: a signal means that we may have to stop.
int Supervisor::placeAt(uint64_t id, int held, int number, bool cloexec) {
  int error = EINTR;
  while (error == EINTR && !stopping()) error = listener_.place(id, held, number, cloexec);
  return error == EINTR ? kStopped : error;
}

}  // namespace berthd
