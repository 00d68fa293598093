// The first bind of a held socket is answered once, and that socket is then foreseen for no other address.
#include "foresight.h"

#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <utility>

namespace berthd {
namespace {

int64_t now() {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t{1000} + time.tv_nsec / 1000000;
}

// Of a bind that is not the first of its held socket.
bool isOver(const ForeseenBind& bind) { return now() >= bind.againUntil; }

}  // namespace

void Foresight::foresee(ForeseenBind bind, int32_t times) {
  const bool isAgain = bind.againUntil != 0;
  if (isAgain) bind.againUntil += now();
  // An earlier answer of that kind may be over, or no longer right.
  const auto isFormer = [&bind](const auto& one) {
    return one->againUntil != 0 && (one->held == bind.held || isOver(*one));
  };
  std::lock_guard<std::mutex> lock(mutex_);
  if (isAgain) timesLeft_ = times;
  foreseen_.erase(std::remove_if(foreseen_.begin(), foreseen_.end(), isFormer), foreseen_.end());
  foreseen_.push_back(std::make_shared<const ForeseenBind>(std::move(bind)));
}

void Foresight::forget() {
  std::lock_guard<std::mutex> lock(mutex_);
  foreseen_.clear();
}

std::vector<Foresight::Delivered> Foresight::delivered() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(delivered_, {});
}

bool Foresight::changing() {
  std::lock_guard<std::mutex> lock(mutex_);
  return changing_;
}

ForeseenBinds Foresight::all() {
  std::lock_guard<std::mutex> lock(mutex_);
  return foreseen_;
}

UniqueFd Foresight::deliver(const BindReport& report) {
  const ForeseenBind& bind = *report.foreseen;
  std::lock_guard<std::mutex> lock(mutex_);
  const bool isAgain = bind.againUntil != 0;
  if (isAgain && (isOver(bind) || timesLeft_ <= 0)) return UniqueFd();
  if (std::find(foreseen_.begin(), foreseen_.end(), report.foreseen) == foreseen_.end()) return UniqueFd();
  // A held socket that is as new waits. One that does not may stay so if the server's own does not wait either.
  const int flags = ::fcntl(bind.held, F_GETFL);
  if (flags < 0) return UniqueFd();
  if ((flags & O_NONBLOCK) != 0 && (!isAgain || !report.look->carriesNonblock())) return UniqueFd();
  UniqueFd held(::fcntl(bind.held, F_DUPFD_CLOEXEC, 3));
  if (!held.valid()) return held;
  delivered_.push_back({bind.id, report.process, report.thread, report.number, report.look->varied()});
  changing_ = report.look->carries();
  if (isAgain) {
    timesLeft_--;
    return held;
  }
  // Nor is that socket foreseen for another address: it is no longer as new.
  const auto isSame = [&bind](const auto& other) { return other->held == bind.held; };
  foreseen_.erase(std::remove_if(foreseen_.begin(), foreseen_.end(), isSame), foreseen_.end());
  return held;
}

void Foresight::changed() {
  std::lock_guard<std::mutex> lock(mutex_);
  changing_ = false;
}

}  // namespace berthd
