// What a console showed last, for readers that come later or take it slowly.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace berthd {

constexpr size_t kHistory = 64 << 10;

// The last of the output. Positions count all bytes that there ever were.
class History {
 public:
  uint64_t end() const { return end_; }
  uint64_t start() const { return end_ > kHistory ? end_ - kHistory : 0; }
  void add(const char* bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes_[end_++ % kHistory] = bytes[i];
  }
  void copy(uint64_t from, char* to, size_t size) const {
    for (size_t i = 0; i < size; i++) to[i] = bytes_[(from + i) % kHistory];
  }
  // Where a new reader begins: with a whole line.
  uint64_t firstLine() const {
    if (start() == 0) return 0;
    for (uint64_t at = start(); at < end_; at++) {
      if (bytes_[at % kHistory] == '\n') return at + 1;
    }
    return start();
  }

 private:
  uint64_t end_ = 0;
  char bytes_[kHistory];
};

}  // namespace berthd
