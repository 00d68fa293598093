// What shift-own and shift-mount share: which id becomes which, one file's owners, and what is told about them.
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "common/fd.h"

namespace berthd {

// Where ids go: into [base, base + range). Those that are there stay, so that twice is the same as once.
struct Shift {
  uint32_t base = 0;
  uint32_t range = 0;

  uint32_t map(uint32_t id) const { return id - base < range ? id : id % range + base; }
};

// One file. Held by a descriptor, it is meant whatever its name becomes; where nobody else can change names, the name
// in its folder will do.
struct File {
  int fd;                      // O_PATH will do; -1: by its name
  int folder;                  // where `name` was found; -1: by no name
  const char* name;
  const struct statx& status;  // kStatus
};

constexpr unsigned kStatus = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO | STATX_MNT_ID;

// What went wrong: "cannot DOING PATH: ERROR; REMEDY".
struct Problem {
  const char* doing = nullptr;
  int error = 0;
};

// kHoldIt: more is to be done than by its name; come again with a descriptor.
enum class Outcome { kShifted, kUnchanged, kFailed, kHoldIt };

// Shifts the owners of single files with all that goes with them: ids in ACLs, the root of file capabilities; what the
// kernel takes off when an owner changes is put on again. One for each thread.
class Owners {
 public:
  Owners(Shift shift, bool dryRun);

  Outcome shift(const File& file, Problem& problem);

 private:
  // Which of the attributes that concern us a file has.
  struct Found {
    bool capability = false, accessAcl = false, defaultAcl = false, journal = false;
  };
  using Bytes = std::vector<uint8_t>;

  ssize_t listAttributes(const File& file);
  int find(const File& file, Found& found);
  int shiftAcl(int fd, const char* name, bool& isChanged);
  bool shiftFragile(const File& file, const Found& found, bool& isChanged, Problem& problem);
  int chown(const File& file);

  const Shift shift_;
  const bool dryRun_;
  std::vector<char> list_;
};

// What a run has come to, and where it is told.
struct Counts {
  uint64_t shifted = 0, unchanged = 0, failed = 0, mounts = 0;
};

// `text` for a terminal and for one line: backslashes, control characters and what is not UTF-8 as \\, \n, \xHH.
std::string printable(const std::string& text);

// The name of this program, which begins each message.
const char* programName();

// What to do about `error`, for the end of a sentence.
const char* remedy(int error);

}  // namespace berthd
