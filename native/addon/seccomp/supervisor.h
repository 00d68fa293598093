// The thread that answers the bind(2) calls of one server. Each server has one of its own, because a hostile one can make
// its supervisor wait: reading its memory blocks on userfaultfd(2), placing a descriptor waits until it is scheduled,
// receiving waits when somebody else received first. What to answer is decided in JavaScript, on the event loop; the
// thread only looks and does.
#pragma once
#include <errno.h>
#include <napi.h>
#include <pthread.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "bind-report.h"
#include "common/fd.h"
#include "listener.h"

namespace berthd {

// Shared by the thread and the JavaScript object; whoever lives longer frees it.
class Supervisor {
 public:
  // Takes ownership of the descriptors; `record` may be -1. `tell` is called with each report, and with null at the end.
  Supervisor(int notify, int record, Napi::ThreadSafeFunction tell);

  // 0, or the errno for which it cannot work.
  int error() const { return wake_.valid() ? listener_.error() : EMFILE; }

  // For Stop() to interrupt a thread that waits in the kernel: the handler does nothing, EINTR is the point.
  static void PrepareSignal();

  // All that the thread does.
  void Main();

  // The event loop's answer to the report it was last told of: 0 and the socket to be put in the place of the server's
  // (-1: none, ownership is taken), an errno, or kContinue.
  void Answer(int value, int socket);

  // On the JavaScript thread. Idempotent. From here on ours does not touch `tell_`, which dies with the environment.
  void Stop(pthread_t thread);

 private:
  struct Verdict {
    int value = 0;
    UniqueFd socket;
  };

  void Run();
  bool Serve(const seccomp_notif& notification, bool recalled);
  bool Await();
  bool Stopping();
  bool Ask(const std::shared_ptr<BindReport>& report, Verdict* verdict);
  void Carry(const BindReport& report, const Verdict& verdict);
  int Replace(const BindReport& report, int held);
  void ReplaceOthers(const BindReport& report, int held);
  int PlaceAt(uint64_t id, int held, int number, bool cloexec);

  // With `mutex_` held.
  template <typename Callback>
  bool Tell(Callback callback) {
    return !stopping_ && tell_.NonBlockingCall(callback) == napi_ok;
  }

  SeccompListener listener_;
  UniqueFd wake_;
  Napi::ThreadSafeFunction tell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool answered_ = false;
  bool stopping_ = false;
  Verdict verdict_;
  std::mutex ending_;  // a thread that has ended cannot be signalled
  bool ended_ = false;
};

}  // namespace berthd
