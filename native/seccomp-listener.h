// The descriptor on which the kernel reports the calls of one server (seccomp_unotify(2)), and a record of the call that
// is being answered: who comes after a broker that was killed finds it there. It decides no answer, and waits for none.
#pragma once
#include <linux/seccomp.h>
#include <stdint.h>

#include "fd.h"

namespace berthd {

constexpr int kContinue = -1;  // let the kernel carry out the call as it stands

class SeccompListener {
 public:
  // Takes ownership of both; a `record` of -1: none is kept.
  SeccompListener(int notify, int record) : notify_(notify), record_(record) {}

  // To wait on.
  int notify() const { return notify_.get(); }
  bool recorded() const { return record_.valid(); }

  // The next call, which is written down. Returns 0 or errno.
  int Receive(seccomp_notif* notification);

  // The call that one before us has received and not answered, if there is one.
  bool Recall(seccomp_notif* notification);

  // Whether the call still waits. Not so when it was killed, or a signal took it out of the call.
  bool IsValid(uint64_t id) const;

  // 0, an errno, or kContinue.
  void Answer(uint64_t id, int value);

  // Puts `held` into the server at that number. 0 or errno; EINTR is to be tried again.
  int Place(uint64_t id, int held, int number, bool cloexec);

 private:
  UniqueFd notify_;
  UniqueFd record_;
};

}  // namespace berthd
