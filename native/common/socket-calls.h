// Calls on descriptors that somebody else may hold up, as data: those of kRun in guard/protocol.h. Who carries them out
// must be a process that nobody waits for.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "fd.h"

namespace berthd {

// `in` is what follows the request's two integers. Returns the length of `out`, or -1 for a request that is none.
long runCalls(const uint8_t* in, size_t length, const UniqueFd* fds, size_t count, uint8_t* out, size_t room);

}  // namespace berthd
