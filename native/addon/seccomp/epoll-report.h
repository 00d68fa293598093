// The epolls of a server that waits in bind(2), for what they have registered of its socket. Reads none of them, for a
// read waits for the epoll's mutex, which the server can hold for ever.
#pragma once
#include <stddef.h>

#include <vector>

#include "bind-report.h"
#include "common/fd.h"

namespace berthd {

constexpr size_t kEpollsAtOnce = 16;

// What a server has in its table of descriptors.
struct Numbers {
  std::vector<int> own;     // of the socket that it binds; the one it named comes last
  std::vector<int> epolls;  // at most kMostEpolls
  bool hasHeld = false;     // whether it has the held socket
};

// Some of a server's epolls.
struct EpollReport {
  bool isPlaced = false;     // the server has the held socket already
  int held = -1;             // borrowed
  std::vector<int> numbers;  // of the server's own socket
  std::vector<UniqueFd> fds;  // pairs: an epoll's fdinfo, and the epoll
  std::vector<int> strays;   // what is no epoll any more. A guard must close it: close(2) may wait
};

// Whether the number that the server named still is the socket that it meant.
bool hasSocket(const BindReport& report);

// `held`: the socket that it is to get.
Numbers numbersOf(const BindReport& report, int held);

// The epolls from the one at `first` on, kEpollsAtOnce at most.
EpollReport takeEpolls(const BindReport& report, const Numbers& numbers, size_t first);

}  // namespace berthd
