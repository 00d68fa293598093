// The binds of one server that JavaScript foresees, and those that were answered so. Shared by the supervisor's thread
// and the JavaScript thread. An answer is noted before the server gets its socket, so JavaScript hears of each.
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include <memory>
#include <mutex>
#include <vector>

#include "bind-report.h"
#include "common/fd.h"
#include "foreseen.h"

namespace berthd {

class Foresight {
 public:
  struct Delivered {
    int id;
    pid_t process;
    pid_t thread;
    int number;
    std::vector<int32_t> varied;  // the calls that gave something else than expected
  };

  // For the JavaScript thread. `againUntil` of the argument is in milliseconds from now, or 0. All binds with one are
  // answered so many `times` together.
  void foresee(ForeseenBind bind, int32_t times);
  void forget();
  // What was answered since the last time.
  std::vector<Delivered> delivered();
  // Whether the held socket of the last answer is being changed.
  bool changing();

  // For the supervisor's thread.
  ForeseenBinds all();

  // If the answer that was found still counts, notes it and returns a duplicate of its held socket. Else returns none.
  UniqueFd deliver(const BindReport& report);

  // The held socket of the last answer has what the server had set on its own.
  void changed();

 private:
  std::mutex mutex_;
  ForeseenBinds foreseen_;
  std::vector<Delivered> delivered_;
  int32_t timesLeft_ = 0;
  bool changing_ = false;
};

}  // namespace berthd
