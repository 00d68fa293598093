// The thread that answers the bind(2) calls of one server. Each server has a thread of its own, because a hostile
// server can make it wait: in reading its memory (userfaultfd(2)), in placing a descriptor, or in receiving a call
// that somebody else received first. JavaScript decides the answers, on the event loop; the thread only looks and
// acts.
#pragma once
#include <errno.h>
#include <napi.h>
#include <pthread.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "bind-report.h"
#include "epoll-report.h"
#include "foresight.h"
#include "common/fd.h"
#include "listener.h"

namespace berthd {

// Shared by the thread and the JavaScript object. The last of them frees it.
class Supervisor {
 public:
  // Takes ownership of the descriptors; `record` may be -1. `tell` is called with each report, and with null at the
  // end.
  Supervisor(int notify, int record, Napi::ThreadSafeFunction tell);

  // 0, or the errno for which it cannot work.
  int error() const { return wake_.valid() ? listener_.error() : EMFILE; }

  // For stop() to interrupt a thread that waits in the kernel: the handler does nothing, EINTR is the point.
  static void prepareSignal();

  // All that the thread does.
  void work();

  // The event loop's answer to what it was last told of. To a report: 0 and the socket to be put in the place of the
  // server's (-1: none, ownership is taken), an errno, or kContinue. `forgets`: the server may have had that socket
  // before, so tell of its epolls before the socket is placed as well. To epolls: 0 or an errno.
  void answer(int value, int socket, bool forgets);

  // The binds that the event loop foresees: it need not be asked. Their held sockets are borrowed until they are
  // forgotten.
  Foresight& foresight() { return foresight_; }

  // Asks this of the sockets of its domain and type from here on, and no longer what was asked of those before.
  void inquire(StateQuestion question);

  // The servers' own sockets that were replaced since the last time.
  struct Spent {
    pid_t process;
    UniqueFd socket;
  };
  std::vector<Spent> spent();

  // On the JavaScript thread. Idempotent. From here on the thread does not touch `tell_`, which dies with the
  // environment.
  void stop(pthread_t thread);

 private:
  struct Verdict {
    int value = 0;
    UniqueFd socket;
    bool forgets = false;
    std::optional<Numbers> numbers;  // if they are known already
  };

  using Report = std::shared_ptr<BindReport>;

  void run();
  bool serve(const seccomp_notif& notification, bool recalled);
  bool await();
  bool stopping();
  bool ask(const Report& report, Verdict* verdict);
  StateQuestions questions();
  bool isForeseen(const BindReport& report, Verdict* verdict);
  void carryOver(const BindReport& report, Verdict* verdict);
  void tellDone(bool isStuck);
  void carry(const Report& report, const Verdict& verdict);
  int replace(const Report& report, const Verdict& verdict);
  int place(const BindReport& report, const Numbers& numbers, int held);
  int askOfEpolls(const Report& report, const Numbers& numbers, int held, bool isPlaced);
  int askOfSome(const Report& report, std::shared_ptr<EpollReport> epolls);
  void giveAway(const Report& report);
  int placeAt(uint64_t id, int held, int number, bool cloexec);

  // With `mutex_` held.
  template <typename Callback>
  bool tell(Callback callback) {
    return !stopping_ && tell_.NonBlockingCall(callback) == napi_ok;
  }

  SeccompListener listener_;
  MemoryReader memory_;
  UniqueFd wake_;
  Napi::ThreadSafeFunction tell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool answered_ = false;
  bool stopping_ = false;
  Verdict verdict_;
  Foresight foresight_;
  StateQuestions questions_;
  std::vector<Spent> spent_;
  bool isUntold_ = false;  // JavaScript is still to be told of what was done; only the thread uses this
  std::mutex ending_;  // a thread that has ended cannot be signalled
  bool ended_ = false;
};

}  // namespace berthd
