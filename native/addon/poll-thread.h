// Readiness of open files that others share, by poll(2) in a thread. epoll_ctl(2) is no call for the event loop there:
// to add a file that is in another epoll takes a lock of the whole system, which any process can hold for ever
// (epnested_mutex, fs/eventpoll.c). poll(2) takes none, and leaves the file's flags as they are.
#pragma once
#include <napi.h>
#include <uv.h>

namespace berthd {

class PollThread;

// One descriptor. All calls are made on the event loop's thread.
class SharedWatch {
 public:
  using OnReady = void (*)(void* argument, int status, int events);

  SharedWatch(uv_loop_t* loop, int fd, OnReady onReady, void* argument)
      : loop_(loop), fd_(fd), onReady_(onReady), argument_(argument) {}
  SharedWatch(const SharedWatch&) = delete;
  SharedWatch& operator=(const SharedWatch&) = delete;
  ~SharedWatch() { stop(); }

  // Watches for UV_READABLE, UV_WRITABLE and UV_DISCONNECT. Returns 0 or -errno.
  int start(int events);
  // When it returns the thread has let go of the file.
  void stop();
  // Whether it keeps the event loop alive while it watches.
  void keepAlive(bool isNeeded);

 private:
  friend class PollThread;

  uv_loop_t* const loop_;
  const int fd_;
  const OnReady onReady_;
  void* const argument_;
  int events_ = 0;
  bool keepsAlive_ = true;
  PollThread* thread_ = nullptr;
  int revents_ = 0;  // guarded by the thread's mutex; not 0: it waits to be told
};

}  // namespace berthd
