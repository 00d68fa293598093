#include "poll-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "common/fd.h"

namespace berthd {
namespace {

constexpr size_t kStack = 64 * 1024;
// When to try again what the kernel refuses.
constexpr int kRetryMilliseconds = 100;

short toPoll(int events) {
  short wanted = 0;
  if ((events & UV_READABLE) != 0) wanted |= POLLIN;
  if ((events & UV_WRITABLE) != 0) wanted |= POLLOUT;
  if ((events & UV_DISCONNECT) != 0) wanted |= POLLRDHUP;
  return wanted;
}

// As uv_poll does: an error is one of the watch, and a hang-up makes everything ready that is waited for.
int toStatus(int revents) { return (revents & (POLLERR | POLLNVAL)) != 0 ? -EBADF : 0; }

int toEvents(int revents, int wanted) {
  if ((revents & POLLHUP) != 0) return wanted;
  int events = 0;
  if ((revents & POLLIN) != 0) events |= UV_READABLE;
  if ((revents & POLLOUT) != 0) events |= UV_WRITABLE;
  if ((revents & POLLRDHUP) != 0) events |= UV_DISCONNECT;
  return events & wanted;
}

}  // namespace

// The thread of an event loop. It is there while anything is watched.
class PollThread {
 public:
  // Undefined with errno when there is no thread or descriptor for it.
  static PollThread* begin(uv_loop_t* loop) {
    UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake.valid()) return nullptr;
    auto* thread = new PollThread(static_cast<UniqueFd&&>(wake));
    if (const int error = uv_async_init(loop, &thread->async_, [](uv_async_t* async) {
          static_cast<PollThread*>(async->data)->tell();
        })) {
      delete thread;
      errno = -error;
      return nullptr;
    }
    thread->async_.data = thread;
    if (const int error = thread->run()) {
      thread->closeAsync();
      errno = error;
      return nullptr;
    }
    return thread;
  }

  void set(SharedWatch* watch, int events) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (std::find(watches_.begin(), watches_.end(), watch) == watches_.end()) watches_.push_back(watch);
      watch->events_ = events;
      watch->revents_ = 0;
      changes_++;
    }
    refresh();
    wake();
  }

  // The last one ends the thread.
  void remove(SharedWatch* watch) {
    bool isLast;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      watches_.erase(std::remove(watches_.begin(), watches_.end(), watch), watches_.end());
      isLast = watches_.empty();
      isEnding_ = isLast;
      const uint64_t change = ++changes_;
      wake();
      // It never waits for anything but a change, so this is short.
      if (!isLast) seen_.wait(lock, [&] { return known_ >= change; });
    }
    if (!isLast) return refresh();
    pthread_join(thread_, nullptr);
    wake_.reset();
    if (current == this) current = nullptr;
    closeAsync();
  }

  // The event loop is kept alive by what is watched and needed.
  void refresh() {
    const bool isNeeded = std::any_of(watches_.begin(), watches_.end(), [](const SharedWatch* watch) {
      return watch->keepsAlive_ && watch->events_ != 0;
    });
    auto* const handle = reinterpret_cast<uv_handle_t*>(&async_);
    if (isNeeded) uv_ref(handle);
    else uv_unref(handle);
  }

  // An event loop stays on its thread.
  static thread_local PollThread* current;

 private:
  explicit PollThread(UniqueFd wake) : wake_(static_cast<UniqueFd&&>(wake)) {}

  int run() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStack);
    // Node handles signals on its own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(
        &thread_, &attributes,
        [](void* self) -> void* {
          static_cast<PollThread*>(self)->loop();
          return nullptr;
        },
        this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    return error;
  }

  void loop() {
    std::vector<pollfd> fds;
    std::vector<SharedWatch*> watched;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!isEnding_) {
      fds.assign(1, pollfd{wake_.get(), POLLIN, 0});
      watched.clear();
      for (SharedWatch* watch : watches_) {
        if (watch->events_ == 0 || watch->revents_ != 0) continue;
        fds.push_back({watch->fd_, toPoll(watch->events_), 0});
        watched.push_back(watch);
      }
      known_ = changes_;
      seen_.notify_all();
      lock.unlock();
      int count = ::poll(fds.data(), fds.size(), -1);
      // More than RLIMIT_NOFILE, which somebody has lowered, are not looked at (EINVAL), or there is no memory.
      if (count < 0 && errno != EINTR) count = ::poll(fds.data(), 1, kRetryMilliseconds);
      uint64_t value;
      if (count > 0 && fds[0].revents != 0 && ::read(wake_.get(), &value, sizeof value) < 0) value = 0;
      lock.lock();
      // Something has changed: what was found out may be of a watch that is gone.
      if (count <= 0 || changes_ != known_) continue;
      bool isAnyReady = false;
      for (size_t i = 0; i < watched.size(); i++) {
        watched[i]->revents_ = fds[i + 1].revents;
        if (fds[i + 1].revents != 0) isAnyReady = true;
      }
      if (isAnyReady) uv_async_send(&async_);
    }
    known_ = changes_;
  }

  // On the event loop. A callback may stop any watch, and the last one ends this.
  void tell() {
    std::vector<SharedWatch*> ready;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (SharedWatch* watch : watches_)
        if (watch->revents_ != 0 && watch->events_ != 0) ready.push_back(watch);
    }
    for (SharedWatch* watch : ready) {
      if (current != this || std::find(watches_.begin(), watches_.end(), watch) == watches_.end()) continue;
      int revents;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        revents = watch->events_ == 0 ? 0 : watch->revents_;
        if (revents == 0) continue;
        // The thread looks at it again after this round, but as with uv_poll, not at one that fails.
        watch->revents_ = 0;
        if (toStatus(revents) != 0) watch->events_ = 0;
        changes_++;
      }
      wake();
      watch->onReady_(watch->argument_, toStatus(revents), toEvents(revents, watch->events_));
      if (current != this) return;
    }
  }

  void wake() {
    const uint64_t one = 1;
    if (::write(wake_.get(), &one, sizeof one) < 0) return;  // it is awake already
  }

  void closeAsync() {
    uv_close(reinterpret_cast<uv_handle_t*>(&async_),
             [](uv_handle_t* handle) { delete static_cast<PollThread*>(handle->data); });
  }

  UniqueFd wake_;
  uv_async_t async_;
  pthread_t thread_;
  std::mutex mutex_;
  std::condition_variable seen_;
  std::vector<SharedWatch*> watches_;
  uint64_t changes_ = 0;
  uint64_t known_ = 0;
  bool isEnding_ = false;
};

thread_local PollThread* PollThread::current = nullptr;

int SharedWatch::start(int events) {
  if (::fcntl(fd_, F_GETFD) < 0) return -errno;
  if (thread_ == nullptr) {
    if (PollThread::current == nullptr) PollThread::current = PollThread::begin(loop_);
    if (PollThread::current == nullptr) return -errno;
    thread_ = PollThread::current;
  }
  thread_->set(this, events);
  return 0;
}

void SharedWatch::stop() {
  if (thread_ == nullptr) return;
  PollThread* const thread = thread_;
  thread_ = nullptr;
  thread->remove(this);
}

void SharedWatch::keepAlive(bool isNeeded) {
  keepsAlive_ = isNeeded;
  if (thread_ != nullptr) thread_->refresh();
}

}  // namespace berthd
