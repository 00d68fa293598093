// System calls that a signal interrupts are called again. Not for close(2): on Linux the descriptor is gone.
#pragma once
#include <errno.h>

namespace berthd {

template <typename Call>
auto retryOnEintr(Call call) -> decltype(call()) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace berthd
