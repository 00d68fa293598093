// The descriptor on which the kernel reports the calls of one server (seccomp_unotify(2)), and a record of the call
// that is being answered. After a broker was killed, the next one reads the call from the record. The kernel writes
// the record while it hands the call over, so no received call is ever missing there. This class decides no answer.
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

  // Receives the next call and records it. Returns 0 or errno.
  int receive(seccomp_notif* notification);

  // The call that an earlier broker received and did not answer, if there is one.
  bool recall(seccomp_notif* notification);

  // Whether the server still waits in the call. A kill or a signal ends the wait.
  bool isValid(uint64_t id) const;

  // 0, an errno, or kContinue.
  void answer(uint64_t id, int value);

  // Puts `held` into the server at that number. Returns 0 or errno; try again on EINTR.
  int place(uint64_t id, int held, int number, bool cloexec);

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
