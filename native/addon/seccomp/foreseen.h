// Binds whose answer JavaScript has given ahead of time: a socket that is as these calls expect, to exactly this
// address, gets this held socket. JavaScript decides all other binds. It decides nothing itself.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/memory-reader.h"
#include "common/socket-calls.h"

namespace berthd {

// What a server may have set on its socket before the bind, and how that is set on the held socket.
struct Variation {
  enum How : int32_t {
    kSet = 0,        // this option of the held socket gets the same value
    kSetHalf = 1,    // half of it: getsockopt gives twice what was set, as of SO_RCVBUF (socket(7))
    kForceHalf = 2,  // half of it, by an option that cannot be read: SO_RCVBUFFORCE
    kNonblock = 3,   // F_GETFL with O_NONBLOCK: the held socket gets O_NONBLOCK
    kTell = 4,       // nothing is set: JavaScript is told, and decides
    kSetSteady = 5,  // as kSet, where no sysctl changes what a new socket gives
  };
  int32_t index;  // of the call in the batch
  int32_t how;
  int32_t level;
  int32_t option;
};

struct ForeseenBind {
  int id = 0;
  int held = -1;         // borrowed, until it is forgotten
  std::string address;   // a struct sockaddr
  uint64_t network = 0;  // inode of the network namespace; 0: any
  // The server has had the held socket before, and gets it as it is until then (CLOCK_MONOTONIC, milliseconds). 0: it
  // has not had it.
  int64_t againUntil = 0;
  std::string calls;     // of guard/protocol.h: one kBatch, which knows what to expect
  int domain = 0;        // of the socket
  int type = 0;
  std::vector<Variation> variations;  // in the order in which they are carried out
};

using ForeseenBinds = std::vector<std::shared_ptr<const ForeseenBind>>;

// Calls of guard/protocol.h on a socket of this domain and type whose bind is not foreseen. JavaScript needs the
// results to decide that bind.
struct StateQuestion {
  int id = 0;
  int domain = 0;
  int type = 0;
  std::string calls;
};

using StateQuestions = std::vector<std::shared_ptr<const StateQuestion>>;

// Looks for the foreseen bind that a bind is. If it is none of them, makes the calls of the question instead. The
// process that reads the address does this: the server may hold up each call on its socket.
class BindLook {
 public:
  BindLook(ForeseenBinds binds, StateQuestions questions, pid_t thread, int number, int socket, size_t length);

  // For MemoryReader, which works on a share of `look`.
  static MemoryReader::Next next(const std::shared_ptr<BindLook>& look);

  // As next, for a bind that was found: sets on the given descriptor what the server has set on its own socket.
  static MemoryReader::Next carryOver(const std::shared_ptr<BindLook>& look);

  // Once the address is read: the foreseen bind that was found, or null. Null as well while the look has not ended.
  std::shared_ptr<const ForeseenBind> found() const;

  // If none was found: the number of the question whose calls were made, and their results. -1 if there was none.
  int question(std::string* results) const;

  // If one was found: which of its calls gave something else than expected.
  std::vector<int32_t> varied() const;

  // If one was found: whether something has to be set on its held socket, and whether O_NONBLOCK is among that.
  bool carries() const;
  bool carriesNonblock() const;

 private:
  static constexpr size_t kMostVaried = 32;

  struct Varied {
    int32_t index;
    CallResult was;
    CallResult is;
  };

  void work(const uint8_t* data);
  UniqueFd take() const;
  void ask();
  bool isAsExpected(const ForeseenBind& bind);
  template <typename Test>
  bool anyVaried(Test test) const;
  bool mayVary(const ForeseenBind& bind, size_t written);
  bool mayVary(const ForeseenBind& bind, const Varied& varied, UniqueFd* fresh) const;
  void carry(const Variation& variation, const CallResult& value, int held) const;
  void carryAll(int held) const;

  const ForeseenBinds binds_;
  const StateQuestions questions_;
  const pid_t thread_;
  const int number_;
  const size_t length_;
  uint64_t inode_ = 0;  // of the socket that the report is about
  int found_ = -1;
  int question_ = -1;
  size_t answered_ = 0;  // bytes of results_
  size_t count_ = 0;
  Varied varied_[kMostVaried];  // the bytes are those of results_, and of the bind
  uint8_t results_[4096];
};

}  // namespace berthd
