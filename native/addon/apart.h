// Calls that may wait for another process, in a thread of their own with a time limit. Only calls whose wait SIGKILL
// ends: a thread that waits on after its time must not keep this process from ending.
#pragma once
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

namespace berthd {

// How many threads wait after their time.
inline std::atomic<int> lateThreads{0};
constexpr int kMostLate = 32;

// Carries `call` out, and returns its result: not negative, or -errno. -ETIMEDOUT when it takes longer than so many
// milliseconds; then `undo` gets a result that comes later, in that thread. -EAGAIN when there is no thread for it.
template <typename Call, typename Undo>
int64_t apart(uint32_t milliseconds, Call call, Undo undo) {
  struct Task {
    Task(Call doing, Undo undoing) : call(std::move(doing)), undo(std::move(undoing)) {}
    Call call;
    Undo undo;
    std::mutex mutex;
    std::condition_variable changed;
    bool isDone = false;
    bool isLate = false;
    int64_t result = 0;
  };
  if (lateThreads >= kMostLate) return -EAGAIN;
  auto task = std::make_shared<Task>(std::move(call), std::move(undo));
  auto* const given = new std::shared_ptr<Task>(task);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  // Node handles signals on its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = pthread_create(
      &thread, &attributes,
      [](void* argument) -> void* {
        std::unique_ptr<std::shared_ptr<Task>> owner(static_cast<std::shared_ptr<Task>*>(argument));
        Task& own = **owner;
        const int64_t result = own.call();
        std::unique_lock<std::mutex> lock(own.mutex);
        own.result = result;
        own.isDone = true;
        own.changed.notify_all();
        if (!own.isLate) return nullptr;
        lock.unlock();
        own.undo(result);
        lateThreads--;
        return nullptr;
      },
      given);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    delete given;
    return -EAGAIN;
  }
  std::unique_lock<std::mutex> lock(task->mutex);
  if (task->changed.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return task->isDone; }))
    return task->result;
  task->isLate = true;
  lateThreads++;
  return -ETIMEDOUT;
}

}  // namespace berthd
