// Ownership of one file descriptor: closed when the owner goes, unless released to somebody else first.
#pragma once
#include <unistd.h>

namespace berthd {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }

  // close(2) is not retried: on Linux the descriptor is gone even after EINTR.
  void reset(int fd = -1) {
    int old = fd_;
    fd_ = fd;
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

}  // namespace berthd
