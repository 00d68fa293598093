// The log of one server: whole lines in NAME, up to a size. Then NAME becomes NAME.1, that NAME.2, and the oldest goes.
#pragma once
#include <limits.h>
#include <stddef.h>

#include "launch/launch.h"

namespace berthd {

class LogFile {
 public:
  // All files of a log have at most (kOldFiles + 1) * kFileMax bytes.
  static constexpr long kFileMax = 4 << 20;
  static constexpr int kOldFiles = 4;

  // `name` must be valid as long as this is.
  LogFile(UniqueFd folder, const char* name) : folder_(static_cast<UniqueFd&&>(folder)), name_(name) {}

  // Opens or creates the file. Returns false with errno.
  bool open();

  // Appends whole lines, at most kFileMax bytes. Returns how many bytes: what it could not write as a whole line is not
  // in the file. errno says why there are fewer.
  size_t append(const char* lines, size_t size);

  int folder() const { return folder_.get(); }
  // The descriptors that this needs.
  void keep(List<int>& kept) const;

 private:
  // Two processes may write at once: a server and the one that it hands over to.
  bool lock();
  bool isCurrent() const;
  bool rotate();

  UniqueFd folder_;
  const char* name_;
  UniqueFd file_;
};

}  // namespace berthd
