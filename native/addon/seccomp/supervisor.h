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
#include <vector>

#include "bind-report.h"
#include "epoll-report.h"
#include "foreseen.h"
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

  // The event loop foresees a bind: it need not be asked. `bind.held` is borrowed until it is forgotten.
  void foresee(ForeseenBind bind);

  // Asks this of the sockets of its domain and type from here on, and no longer what was asked of those before.
  void inquire(StateQuestion question);

  // Forgets all of them: from here on the event loop is asked.
  void forget();

  // The binds that were answered as foreseen since the last time. Each is here before its held socket is changed, and
  // before the server gets that.
  struct Delivered {
    int id;
    pid_t process;
    pid_t thread;
    int number;
    std::vector<int32_t> varied;  // the calls that gave something else than expected
  };
  std::vector<Delivered> delivered();

  // Whether the held socket of the last of them is being changed.
  bool changing();

  // On the JavaScript thread. Idempotent. From here on the thread does not touch `tell_`, which dies with the
  // environment.
  void stop(pthread_t thread);

 private:
  struct Verdict {
    int value = 0;
    UniqueFd socket;
    bool forgets = false;
  };

  using Report = std::shared_ptr<BindReport>;

  void run();
  bool serve(const seccomp_notif& notification, bool recalled);
  bool await();
  bool stopping();
  bool ask(const Report& report, Verdict* verdict);
  ForeseenBinds foreseen();
  StateQuestions questions();
  bool isForeseen(const BindReport& report, Verdict* verdict);
  void carryOver(const BindReport& report, Verdict* verdict);
  void tellDelivered(bool isStuck);
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
  ForeseenBinds foreseen_;
  StateQuestions questions_;
  std::vector<Delivered> delivered_;
  bool changing_ = false;
  std::mutex ending_;  // a thread that has ended cannot be signalled
  bool ended_ = false;
};

}  // namespace berthd
