// Calls on descriptors that somebody else may hold up, as data: those of kRun in guard/protocol.h. Who carries them out
// must be a process that nobody waits for.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "fd.h"

namespace berthd {

// `in` is what follows the request's two integers. Returns the length of `out`, or -1 for a request that is none.
long runCalls(const uint8_t* in, size_t length, const UniqueFd* fds, size_t count, uint8_t* out, size_t room);

// One of the results that runCalls writes.
struct CallResult {
  int32_t value = 0;
  int32_t length = 0;
  const uint8_t* bytes = nullptr;
};

// The results that a kBatch at the beginning of `calls` expects, and those that it gave: `written` bytes of `out`. Read
// one after the other.
class BatchResults {
 public:
  BatchResults(const uint8_t* at, size_t size) : at_(at), end_(at + size) {}
  static BatchResults expected(const uint8_t* calls, size_t length);
  static BatchResults given(const uint8_t* out, size_t written);

  // False at the end.
  bool next(CallResult* result);

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

}  // namespace berthd
