// Binds whose answer JavaScript has given ahead of time: a socket that is as these calls expect, to exactly this
// address, gets this held socket. Each is answered once. Whatever is otherwise is asked for as ever. It decides nothing.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "common/memory-reader.h"

namespace berthd {

struct ForeseenBind {
  int id = 0;
  int held = -1;         // borrowed, until it is forgotten
  std::string address;   // a struct sockaddr
  uint64_t network = 0;  // inode of the network namespace; 0: any
  std::string calls;     // of guard/protocol.h: one kBatch, which knows what to expect
};

using ForeseenBinds = std::vector<std::shared_ptr<const ForeseenBind>>;

// Looks which of them a bind is, in the process that reads the address: the server may hold up each call on its socket.
class BindLook {
 public:
  BindLook(ForeseenBinds binds, pid_t thread, int number, int socket, size_t length);

  // For MemoryReader, which works on a share of `look`.
  static MemoryReader::Next next(const std::shared_ptr<BindLook>& look);

  // Once the address is read: the bind that it is, or null. Null as well while the look has not ended.
  std::shared_ptr<const ForeseenBind> found() const;

 private:
  void work(const uint8_t* data);
  bool isAsExpected(const ForeseenBind& bind);

  const ForeseenBinds binds_;
  const pid_t thread_;
  const int number_;
  const size_t length_;
  uint64_t inode_ = 0;  // of the socket that the report is about
  int found_ = -1;
  uint8_t results_[4096];
};

}  // namespace berthd
