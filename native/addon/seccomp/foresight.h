// The binds of one server that JavaScript foresees, and those that were answered so. Shared by the supervisor's thread
// and the JavaScript thread. What is delivered is noted before the server gets it: nobody forgets it in between.
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

  // JavaScript's part: as Supervisor has it. If the server has had the held socket before, `againUntil` counts from now,
  // and all such binds together are answered so often.
  void foresee(ForeseenBind bind, int32_t times);
  void forget();
  std::vector<Delivered> delivered();
  bool changing();

  // The thread's part.
  ForeseenBinds all();

  // Whether that answer still counts: then notes it, and gives a duplicate of its held socket.
  UniqueFd deliver(const BindReport& report);

  // The held socket of the last one is as the server has set its own.
  void changed();

 private:
  std::mutex mutex_;
  ForeseenBinds foreseen_;
  std::vector<Delivered> delivered_;
  int32_t timesLeft_ = 0;
  bool changing_ = false;
};

}  // namespace berthd
