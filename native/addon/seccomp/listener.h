// The descriptor on which the kernel reports the calls of one server (seccomp_unotify(2)), and a record of the call that
// is being answered: who comes after a broker that was killed finds it there. The kernel itself writes the record, within
// the call that receives: in no instant is a call received and not written down. It decides no answer, and waits for none.
#pragma once
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fd.h"

namespace berthd {

constexpr int kContinue = -1;  // let the kernel carry out the call as it stands

class SeccompListener {
 public:
  // Takes ownership of both; a `record`, a memfd, of -1: none is kept.
  SeccompListener(int notify, int record);
  ~SeccompListener();
  SeccompListener(const SeccompListener&) = delete;
  SeccompListener& operator=(const SeccompListener&) = delete;

  // 0, or the errno for which no record can be kept.
  int error() const { return error_; }

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
  // The kernel may write a larger structure than we know.
  static constexpr size_t kRoom = 512;

  UniqueFd notify_;
  UniqueFd record_;
  int error_ = 0;
  alignas(seccomp_notif) char own_[kRoom] = {};
  char* call_ = own_;  // or the record's memory
};

}  // namespace berthd
